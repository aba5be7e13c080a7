"""Frames that are evenly spaced over a whole video: the middle one of each of F equal parts."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from platform.features.videos.decoding import Unreadable, decoded, packet_times, reason
from platform.features.videos.extra import needed

if TYPE_CHECKING:
    from av import VideoFrame

_QUARTER = 90  # degrees: videos lie on a side or stand on their head, and nothing between


def spaced_frames(path: Path, count: int) -> Iterator[np.ndarray]:
    """`count` frames (H, W, 3) uint8 RGB, turned as the video's metadata say; a video of fewer repeats some.

    Frame i of `count` is number (i + 1/2) T / count of T, rounded down. Raises Unreadable, perhaps after the last one,
    where the file is no video, is cut off, has broken data in more than a tenth of its packets, or has no frame;
    InputError without PyAV.
    """
    av = needed("av")
    try:
        with av.open(str(path)) as container:
            total = len(packet_times(container))
        wanted = [(2 * i + 1) * total // (2 * count) for i in range(count)]
        last = None
        with av.open(str(path)) as container:
            for number, (_, frame) in enumerate(decoded(container)):
                last = frame
                if wanted and wanted[0] == number:
                    image, times = _upright(frame), wanted.count(number)
                    yield from times * [image]
                    del wanted[:times]
        if last is None:
            raise Unreadable("has no frames")
        yield from len(wanted) * [_upright(last)]  # where some packets could not be decoded
    except Unreadable:
        raise
    except (av.FFmpegError, OSError, ValueError) as error:  # PyAV has ValueError for formats that it cannot convert
        raise Unreadable(f"cannot be decoded ({reason(error)})") from error


def _upright(frame: "VideoFrame") -> np.ndarray:
    image = frame.to_ndarray(format="rgb24")
    return np.rot90(image, round(frame.rotation / _QUARTER) % 4)  # both count against the clock
