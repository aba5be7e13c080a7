"""UTF-8 text files, with every fault as a one-line error that names the file."""

from pathlib import Path

from platform.errors import InputError


def read_text(path: Path) -> str:
    """The whole file, without a byte order mark."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: no UTF-8 text ({error.reason} at byte {error.start})") from error
