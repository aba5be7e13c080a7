"""Encoded frames of many samples gathered in one file without a name, never in memory as a whole."""

import errno
import mmap
import tempfile
from collections.abc import Iterable, Sequence
from io import BytesIO

import numpy as np
import pyarrow as pa
from PIL import Image

from platform.datasets.frames_file import FramesWriter
from platform.errors import InputError

_QUALITY = 90  # of JPEG files
_PNG_EFFORT = 1  # of 9: more makes photographs a few per cent smaller, and takes several times as long
JPEG, PNG = f"JPEG quality {_QUALITY}", "PNG (exact)"  # as cards say


def encoded(image: Image.Image, exact: bool = False) -> bytes:
    """A JPEG file, or a PNG file where the pixels are to be exact."""
    file = BytesIO()
    if exact:
        image.save(file, "PNG", compress_level=_PNG_EFFORT)
    else:
        image.save(file, "JPEG", quality=_QUALITY)
    return file.getvalue()


def in_one_file(
    samples: Iterable[Sequence[bytes] | None], frames: int, side: int, kind: str, smaller: str
) -> tuple[pa.Buffer | None, np.ndarray]:
    """The map of an Arrow file (see `frames_file`) of the samples that are there, and (N,) True at these.

    samples: the encoded frames of each, `frames` of them, or None where it could not be read; kind: what they are, as
    `videos`; smaller: the options that make the file smaller. It stands in the folder for temporary files and is gone
    with its map; there is none of no samples. Raises InputError where there is no room for it.
    """
    kept: list[bool] = []
    with tempfile.TemporaryFile() as file:
        try:
            with FramesWriter(file, frames, side) as writer:
                for sample in samples:
                    if sample is not None:
                        writer.add(sample)
                    kept.append(sample is not None)
            file.flush()
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            raise InputError(
                f"{tempfile.gettempdir()}: no room for {sum(kept):,} {kind}; set TMPDIR to a folder with more room, or "
                f"choose a smaller {smaller}"
            ) from error
        if not any(kept):
            return None, np.array(kept, bool)
        # a map keeps the file while it is used
        return pa.py_buffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)), np.array(kept)
