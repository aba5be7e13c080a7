"""Many pictures as one array of pixels, decoded by several processes and never in memory as a whole."""

import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

import numpy as np

from platform.datasets.contents import FeatureArray
from platform.datasets.readers.decoding import in_workers
from platform.datasets.readers.odd_files import OddFiles
from platform.datasets.readers.options import Report
from platform.datasets.readers.squares import UnreadableError, square
from platform.datasets.trained_on import NOT_TRAINED
from platform.errors import InputError

DEFAULT_SIDE = 256
_BATCH = 16  # pictures that a worker is handed at once


@dataclass(frozen=True)
class Pixels:
    """pictures: (K, 3 · side · side) uint8, of the K that could be read; kept: (N,) True at these."""

    pictures: FeatureArray
    kept: np.ndarray


def read_pixels(
    source: Path, names: Sequence[str], side: int, workers: int, odd: OddFiles, report: Report | None = None
) -> Pixels:
    """The pictures of a folder or .zip, in the order of `names`; those that cannot be read go into `odd`.

    They are written to a file without a name in the folder for temporary files, which is gone with the array. Raises
    InputError where there is no room for it, or no picture can be read.
    """
    width = 3 * side * side
    _require_room(len(names) * width)
    kept = np.zeros(len(names), bool)
    with tempfile.TemporaryFile() as file:
        for place, found in enumerate(_squares(source, names, side, workers)):
            if isinstance(found, bytes):
                file.write(found)
                kept[place] = True
            else:
                odd.add(f"left out ({found})", names[place])
            if report is not None:
                report(place + 1, len(names))
        values = _mapped(file, int(kept.sum()), width, source, odd)
    described = f"RGB, shorter edge resized to {side} (bilinear, antialiased), middle {side} x {side}"
    return Pixels(FeatureArray(values, described, kind="pixels", trained_on=NOT_TRAINED), kept)


def require_every_class(labels: np.ndarray, names: Sequence[str], odd: OddFiles) -> None:
    """Raise InputError where a class has no readable picture. labels: (K,) of the pictures that could be read."""
    if lost := sorted(set(range(len(names))) - set(labels.tolist())):
        told = "".join(f"; {note}" for note in odd.notes())
        raise InputError(f"class `{names[lost[0]]}` has no readable picture{told}")


def _require_room(needed: int) -> None:
    folder = tempfile.gettempdir()
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise InputError(
            f"{folder}: {free / 1e9:.1f} GB free, the pixels need {needed / 1e9:.1f} GB; set TMPDIR to a folder with "
            "more room, or choose a smaller --size"
        )


def _mapped(file: IO[bytes], count: int, width: int, source: Path, odd: OddFiles) -> np.ndarray:
    if not count:
        raise InputError(f"{source}: no readable picture; {'; '.join(odd.notes())}")
    file.flush()
    return np.memmap(file, np.uint8, "r", shape=(count, width))  # which keeps the file for as long as it is used


def _squares(source: Path, names: Sequence[str], side: int, workers: int) -> Iterator[bytes | str]:
    """Each picture's pixels, or the reason why there are none."""
    if workers == 0:
        with _opened(source) as read:
            for name in names:
                yield _square_or_reason(read, name, side)
        return
    yield from in_workers(partial(_batch_of_squares, side=side), names, workers, _BATCH, _start, (source,))


@contextmanager
def _opened(source: Path) -> Iterator[Callable[[str], bytes]]:
    """A function that reads a file of a folder, or of a .zip, whose long list of members is read once."""
    if source.is_dir():
        yield lambda name: (source / name).read_bytes()
        return
    with zipfile.ZipFile(source) as archive:
        yield archive.read


_worker = ExitStack()  # what a worker process holds open until it ends


def _start(source: Path) -> None:
    global _read
    _read = _worker.enter_context(_opened(source))


def _batch_of_squares(names: Sequence[str], side: int) -> list[bytes | str]:
    """What a worker does with a batch."""
    return [_square_or_reason(_read, name, side) for name in names]


def _square_or_reason(read: Callable[[str], bytes], name: str, side: int) -> bytes | str:
    try:
        return square(read(name), side).tobytes()
    except UnreadableError as error:
        return str(error)
    # a file that is not ours to read, and what archives say of a damaged, encrypted or strangely packed member
    except (OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error):
        return "cannot be opened"
