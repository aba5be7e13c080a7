"""Many picture files as encoded squares in one file, made by several processes and never in memory as a whole."""

import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from platform.datasets.contents import FeatureArray
from platform.datasets.encoded_pictures import EncodedPictures
from platform.datasets.readers.decoding import in_workers
from platform.datasets.readers.encoding import JPEG, PNG, encoded, in_one_file
from platform.datasets.readers.odd_files import OddFiles
from platform.datasets.readers.options import ImportOptions, Report
from platform.datasets.readers.squares import UnreadableError, square
from platform.datasets.trained_on import NOT_TRAINED
from platform.errors import InputError

_SIDE = 256
_BATCH = 16  # pictures that a worker is handed at once


@dataclass(frozen=True)
class Pictures:
    """encoded: of the K that could be read; kept: (N,) True at these."""

    encoded: FeatureArray
    kept: np.ndarray


def import_pictures(source: Path, names: Sequence[str], options: ImportOptions, odd: OddFiles) -> Pictures:
    """`read_pictures` of a folder or .zip, as the options of an import say."""
    side, exact = options.size or _SIDE, bool(options.exact)
    return read_pictures(source, names, side, exact, options.workers or 0, odd, options.report)


def read_pictures(
    source: Path,
    names: Sequence[str],
    side: int,
    exact: bool,
    workers: int,
    odd: OddFiles,
    report: Report | None = None,
) -> Pictures:
    """The pictures of a folder or .zip, in the order of `names`; those that cannot be read go into `odd`.

    exact: keep them as PNG, else as JPEG. They are written to a file without a name in the folder for temporary files,
    which is gone with the result. Raises InputError where there is no room for it, or no picture can be read.
    """

    def samples() -> Iterator[tuple[bytes] | None]:
        for place, found in enumerate(_squares(source, names, side, exact, workers)):
            if isinstance(found, str):
                odd.add(f"left out ({found})", names[place])
            yield None if isinstance(found, str) else (found,)
            if report is not None:
                report(place + 1, len(names))

    file, kept = in_one_file(samples(), 1, side, "pictures", "--size")
    if file is None:
        raise InputError(f"{source}: no readable picture; {'; '.join(odd.notes())}")
    described = (
        f"RGB, shorter edge resized to {side} (bilinear, antialiased), middle {side} x {side}, {PNG if exact else JPEG}"
    )
    pictures = EncodedPictures.of_buffer(file)
    return Pictures(FeatureArray(pictures, described, kind="pictures", trained_on=NOT_TRAINED), kept)


def require_every_class(labels: np.ndarray, names: Sequence[str], odd: OddFiles) -> None:
    """Raise InputError where a class has no readable picture. labels: (K,) of the pictures that could be read."""
    if lost := sorted(set(range(len(names))) - set(labels.tolist())):
        told = "".join(f"; {note}" for note in odd.notes())
        raise InputError(f"class `{names[lost[0]]}` has no readable picture{told}")


def _squares(source: Path, names: Sequence[str], side: int, exact: bool, workers: int) -> Iterator[bytes | str]:
    """Each picture's encoded square, or the reason why there is none."""
    if workers == 0:
        with _opened(source) as read:
            for name in names:
                yield _square_or_reason(read, name, side, exact)
        return
    work = partial(_batch_of_squares, side=side, exact=exact)
    yield from in_workers(work, names, workers, _BATCH, _start, (source,))


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


def _batch_of_squares(names: Sequence[str], side: int, exact: bool) -> list[bytes | str]:
    """What a worker does with a batch."""
    return [_square_or_reason(_read, name, side, exact) for name in names]


def _square_or_reason(read: Callable[[str], bytes], name: str, side: int, exact: bool) -> bytes | str:
    try:
        pixels = square(read(name), side).transpose(1, 2, 0)
        return encoded(Image.fromarray(np.ascontiguousarray(pixels)), exact)
    except UnreadableError as error:
        return str(error)
    # a file that is not ours to read, and what archives say of a damaged, encrypted or strangely packed member
    except (OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error):
        return "cannot be opened"
