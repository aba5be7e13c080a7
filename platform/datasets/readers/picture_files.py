"""The picture files of a folder or of a .zip, and what stands beside them."""

import os
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

from platform.errors import InputError

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")


@dataclass(frozen=True)
class PictureFiles:
    """names: of the pictures, sorted, as paths below `source`; others: of the files that are none."""

    source: Path
    names: Sequence[str]
    others: Sequence[str]

    def find(self, path: str) -> str | None:
        """The picture whose whole name is the longest end of a path that was written on any machine; None without one.

        `/home/them/CUB/images/001.gull/a.jpg` is `images/001.gull/a.jpg` where that is there, else `001.gull/a.jpg`.
        """
        parts = [part for part in path.strip().replace("\\", "/").split("/") if part not in ("", ".")]
        ends = ("/".join(parts[start:]) for start in range(len(parts)))
        return next((end for end in ends if end in self._known), None)

    @cached_property
    def _known(self) -> frozenset[str]:
        return frozenset(self.names)


def list_pictures(source: Path) -> PictureFiles:
    """Raises InputError where there is no picture, or an archive is damaged."""
    found = sorted(_files(source))
    files = [name for name in found if not PurePosixPath(name).name.startswith(".") and name[:9] != "__MACOSX/"]
    names = [name for name in files if name.lower().endswith(SUFFIXES)]
    if not names:
        raise InputError(f"{source}: no picture in it or below it; {', '.join(SUFFIXES)} are expected")
    return PictureFiles(source, names, [name for name in files if not name.lower().endswith(SUFFIXES)])


def classes_of(pictures: PictureFiles) -> tuple[Mapping[str, str], Sequence[str]]:
    """Each picture's class, which is its folder; and the pictures that stand in none.

    A folder around all of them, as archives have it, is passed over. Raises InputError where the classes do not stand
    side by side.
    """
    folders = {name: str(PurePosixPath(name).parent) for name in pictures.names}
    around = os.path.commonpath({folder for folder in folders.values() if folder != "."} or {"."}) or "."
    below = {name: os.path.relpath(folder, around) for name, folder in folders.items()}
    loose = [name for name, folder in below.items() if folder in (".", "..")]
    classes = {name: folder for name, folder in below.items() if folder not in (".", "..")}
    if not classes:
        raise InputError(f"{pictures.source}: its pictures stand in no class folders; expected CLASS/FILE.jpg")
    if deep := next((name for name, folder in classes.items() if "/" in folder), None):
        raise InputError(
            f"{pictures.source}: `{deep}` stands deeper than others; expected CLASS/FILE.jpg of each class"
        )
    return classes, loose


def _files(source: Path) -> list[str]:
    if source.is_dir():
        return [p.relative_to(source).as_posix() for p in source.rglob("*") if p.is_file()]
    if not source.exists():
        raise InputError(f"{source}: no such file or folder")
    try:
        with zipfile.ZipFile(source) as archive:
            return [member.filename for member in archive.infolist() if not member.is_dir()]
    except (OSError, zipfile.BadZipFile) as error:
        raise InputError(f"{source}: truncated, or neither a folder nor a zip archive ({error})") from error
