"""Classes that are folders, whatever the spelling of their names."""

from collections.abc import Sequence
from pathlib import Path

from platform.datasets.class_spelling import positions
from platform.errors import InputError


def class_indices(folders: Sequence[str], names: Sequence[str], source: Path) -> dict[str, int]:
    """Where each folder's class stands in `names`. Raises InputError where one does not."""
    found = positions(folders, names)
    if None in found:
        unknown = folders[found.index(None)]
        raise InputError(f"{source}: class `{unknown}` is none of the classes {', '.join(names[:4])}, …")
    return {folder: i for folder, i in zip(folders, found, strict=True) if i is not None}
