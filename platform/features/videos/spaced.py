"""Frames that are evenly spaced over a whole video: the middle one of each of F equal parts."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from platform.features.videos.decoding import Unreadable, decoded, packet_times, reason
from platform.features.videos.extra import needed

if TYPE_CHECKING:
    from av import VideoFrame

_QUARTER = 90  # degrees: videos lie on a side or stand on their head, and nothing between


def spaced_frames(path: Path, count: int) -> list[np.ndarray]:
    """`count` frames (H, W, 3) uint8 RGB, turned as the video's metadata say; a video of fewer repeats some.

    Frame i of `count` is number (i + 1/2) T / count of T, rounded down. Raises Unreadable where the file is no video,
    is cut off, has broken data in more than a tenth of its packets, or has no frame; InputError without PyAV.
    """
    av = needed("av")
    found: list[np.ndarray] = []
    try:
        with av.open(str(path)) as container:
            total = len(packet_times(container))
        wanted = [(2 * i + 1) * total // (2 * count) for i in range(count)]
        with av.open(str(path)) as container:
            last = None
            for number, (_, frame) in enumerate(decoded(container)):
                last = frame
                if len(found) < count and wanted[len(found)] == number:
                    found += wanted.count(number) * [_upright(frame)]
        if last is None:
            raise Unreadable("has no frames")
        if len(found) < count:  # some packets could not be decoded
            found += (count - len(found)) * [_upright(last)]
    except Unreadable:
        raise
    except (av.FFmpegError, OSError, ValueError) as error:  # PyAV has ValueError for formats that it cannot convert
        raise Unreadable(f"cannot be decoded ({reason(error)})") from error
    return found


def _upright(frame: "VideoFrame") -> np.ndarray:
    image = frame.to_ndarray(format="rgb24")
    return np.rot90(image, round(frame.rotation / _QUARTER) % 4)  # both count against the clock
