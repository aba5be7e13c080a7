"""Unseen's platform, under a name that the standard library uses too.

From the repository's root this package shadows the standard library's `platform`, which torch, ray, uuid and others
import. So it runs that module's own source in its namespace: `platform.system()` and every other name keep working,
and `platform.tune`, `platform.datasets` and the rest are found beside them. Nothing else may be imported here: the
standard library reaches this file in the middle of its own imports.
"""

import os as _os

_standard_library_module = _os.path.join(_os.path.dirname(_os.__file__), "platform.py")
with open(_standard_library_module, encoding="utf-8") as _source:
    exec(compile(_source.read(), _standard_library_module, "exec"))
