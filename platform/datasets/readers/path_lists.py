"""Lists of files, one path a line."""

from pathlib import Path

from platform.datasets.readers.text_files import read_text
from platform.errors import InputError


def read_path_list(path: Path) -> list[str]:
    """The paths of a list, one a line. Raises InputError where there is none, or one twice."""
    paths = [line.strip() for line in read_text(path).splitlines() if line.strip()]
    if not paths:
        raise InputError(f"{path}: names no file")
    seen: set[str] = set()
    for listed in paths:
        if listed in seen:
            raise InputError(f"{path}: `{listed}` is listed twice")
        seen.add(listed)
    return paths
