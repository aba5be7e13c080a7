"""The files of a folder, or of a zip archive that it was packed into."""

import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from platform.errors import InputError


@contextmanager
def open_members(path: Path, suffix: str) -> Iterator[tuple[list[str], Callable[[str], bytes]]]:
    """The names of the members with this suffix, and a function that reads one.

    A folder's are those in it and in its subfolders, by name; an archive's stand in its own order. Raises InputError
    where the archive, or a member that is read, is damaged.
    """
    if path.is_dir():
        names = sorted(p.relative_to(path).as_posix() for p in path.rglob(f"*{suffix}") if p.is_file())
        yield names, lambda member: (path / member).read_bytes()
        return
    try:
        archive = zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: truncated, or no zip archive ({error}); fetch it again") from error
    with archive:
        names = [m for m in archive.namelist() if m.endswith(suffix) and not m.startswith("__MACOSX")]
        yield names, lambda member: _unpack(archive, member)


def by_stem(path: Path, members: list[str], suffix: str, example: str) -> Mapping[str, str]:
    """Members by the name of their file without the suffix. Raises InputError where there are none, or one twice."""
    if not members:
        raise InputError(f"{path}: no file like {example}{suffix}")
    found: dict[str, str] = {}
    for member in members:
        stem = PurePosixPath(member).name.removesuffix(suffix)
        if stem in found:
            raise InputError(f"{path}: `{found[stem]}` and `{member}` are the same clip; keep one of them")
        found[stem] = member
    return found


def _unpack(archive: zipfile.ZipFile, member: str) -> bytes:
    try:
        return archive.read(member)
    except (OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"{archive.filename}: `{member}` is corrupt ({error}); fetch the archive again") from error
