"""Started as a script, pytest has imported the standard library's `platform` before it reads this file: make room."""

import sys
from pathlib import Path

if not hasattr(sys.modules.get("platform"), "__path__"):
    sys.modules.pop("platform", None)
root = str(Path(__file__).parent)
if sys.path[0] != root:
    sys.path.insert(0, root)
