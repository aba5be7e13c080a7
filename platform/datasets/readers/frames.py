"""Frames of many videos, JPEG-encoded, in one file: decoded by several processes and never in memory as a whole."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from platform.datasets.contents import FeatureArray
from platform.datasets.encoded_frames import EncodedFrames
from platform.datasets.readers.decoding import in_workers
from platform.datasets.readers.encoding import JPEG, encoded, in_one_file
from platform.datasets.readers.odd_files import OddFiles
from platform.datasets.readers.options import Report
from platform.datasets.readers.squares import cropped
from platform.datasets.trained_on import NOT_TRAINED
from platform.errors import InputError
from platform.features.videos.decoding import Unreadable
from platform.features.videos.extra import needed
from platform.features.videos.spaced import spaced_frames

_BATCH = 2  # videos that a worker is handed at once


@dataclass(frozen=True)
class Frames:
    """encoded: of the K videos that could be read; kept: (N,) True at these."""

    encoded: FeatureArray
    kept: np.ndarray


def read_frames(
    source: Path,
    paths: Sequence[Path],
    count: int,
    side: int,
    workers: int,
    odd: OddFiles,
    report: Report | None = None,
) -> Frames:
    """`count` frames of each video, in the order of `paths`, below `source`; what cannot be read goes into `odd`.

    They are written to a file without a name in the folder for temporary files, which is gone with the result. Raises
    InputError where there is no room for it, no video can be read, or PyAV is missing.
    """
    needed("av")

    def samples() -> Iterator[list[bytes] | None]:
        for place, found in enumerate(_frames(paths, count, side, workers)):
            if isinstance(found, str):
                odd.add("left out, which cannot be read", f"{paths[place].relative_to(source)} ({found})")
            yield None if isinstance(found, str) else found
            if report is not None:
                report(place + 1, len(paths))

    file, kept = in_one_file(samples(), count, side, "videos", "--size or --frames")
    if file is None:
        raise InputError(f"{source}: no readable video; {'; '.join(odd.notes())}")
    described = (
        f"RGB, {count} frames evenly spaced over the whole video, shorter edge resized to {side} (bilinear, "
        f"antialiased), middle {side} x {side}, {JPEG}"
    )
    frames = EncodedFrames.of_buffer(file)
    return Frames(FeatureArray(frames, described, kind="frames", trained_on=NOT_TRAINED), kept)


def _frames(paths: Sequence[Path], count: int, side: int, workers: int) -> Iterator[list[bytes] | str]:
    """Each video's encoded frames, or the reason why there are none."""
    work = partial(_several, count=count, side=side)
    if workers:
        yield from in_workers(work, paths, workers, _BATCH)
    else:
        for path in paths:
            yield from work([path])


def _several(paths: Sequence[Path], count: int, side: int) -> list[list[bytes] | str]:
    """What a worker does with a batch."""
    return [_frames_or_reason(path, count, side) for path in paths]


def _frames_or_reason(path: Path, count: int, side: int) -> list[bytes] | str:
    try:
        return [encoded(_square(frame, side)) for frame in spaced_frames(path, count)]
    except Unreadable as error:
        return str(error)


def _square(frame: np.ndarray, side: int) -> Image.Image:
    return cropped(Image.fromarray(np.ascontiguousarray(frame)), side)
