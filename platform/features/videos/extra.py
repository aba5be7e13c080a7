"""The optional extra `video`: its packages are imported where they are used, and asked for where they are missing."""

import importlib
from types import ModuleType

from platform.errors import InputError

INSTALL = "install the extra video: pip install -e .[video]"


def needed(module: str) -> ModuleType:
    """`av` or `cv2`. Raises InputError where it is not installed."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise InputError(f"videos need the Python module `{module}` ({error}); {INSTALL}") from error
