"""Frames of a video as I3D's authors sample them: 25 a second, the shorter side 256 pixels, the centre of the video.

The release (deepmind/kinetics-i3d, "Sample data and preprocessing") samples 25 frames a second, resizes bilinearly so
that the shorter side is 256, and crops the centre 224×224 at test time. Carreira and Zisserman train on 64 frames and
test on whole Kinetics videos of 10 seconds, which are 250 frames; so 250 are taken here of a longer video, contiguous
and from its centre, and all of a shorter one.
"""

import math
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from platform.features.videos.extra import needed

if TYPE_CHECKING:
    from av import VideoFrame
    from av.container import InputContainer
    from av.video.stream import VideoStream

SUFFIXES = (".avi", ".mp4", ".mkv", ".webm", ".mov", ".mpg")
RATE = 25
SHORTER_SIDE, CROP = 256, 224
_FEWEST = 2  # frames: one shows no motion
_BROKEN_SHARE = 0.1  # of the packets: a video that lacks more is not the video that its makers published


class Unreadable(ValueError):
    """A video whose frames cannot be had. The message is one line that says why."""


def sampled_frames(path: Path, most: int) -> Iterator[np.ndarray]:
    """Frames (H, W, 3) uint8 RGB at 25 a second, one at a time; H or W is 256, the other at least that.

    most: contiguous frames from the video's centre; of a shorter video all. A frame stands at a time k/25 after the
    first one and is the one nearest in time, so faster videos lose frames and slower ones repeat them. Raises
    Unreadable where the file is no video, is cut off, has broken data in more than a tenth of its packets, or has fewer
    than two frames.
    """
    av = needed("av")
    try:
        count = _count_on_grid(path)
        start = max(0, (count - most) // 2)
        given = 0
        with av.open(str(path)) as container:
            reformatter = av.video.reformatter.VideoReformatter()
            for frame in _on_grid(decoded(container), start, min(count, start + most)):
                width, height = _resized(frame.width, frame.height)
                yield reformatter.reformat(frame, width, height, "rgb24", interpolation="BILINEAR").to_ndarray()
                given += 1
    except Unreadable:
        raise
    except (av.FFmpegError, OSError, ValueError) as error:  # PyAV has ValueError for formats that it cannot convert
        raise Unreadable(f"cannot be decoded ({reason(error)})") from error
    if given < _FEWEST:
        raise Unreadable(f"too short: {given} frame{'s' * (given != 1)} at {RATE} a second, at least {_FEWEST} needed")


def centre_crop(image: np.ndarray) -> np.ndarray:
    """The centre (224, 224, …) of an image (H, W, …), as a view."""
    top, left = ((side - CROP) // 2 for side in image.shape[:2])
    return image[top : top + CROP, left : left + CROP]


def _resized(width: int, height: int) -> tuple[int, int]:
    scale = Fraction(SHORTER_SIDE, min(width, height))
    return round(width * scale), round(height * scale)


def reason(error: Exception) -> str:
    """The first line of what FFmpeg says."""
    return (getattr(error, "strerror", None) or str(error)).splitlines()[0]


def video_stream(container: "InputContainer") -> "VideoStream":
    """The first one, decoded by one thread. Raises Unreadable without one."""
    if not container.streams.video:
        raise Unreadable("has no video stream")
    stream = container.streams.video[0]
    stream.codec_context.thread_count = 1  # the workers are the parallel part
    return stream


def packet_times(container: "InputContainer") -> list[int | None]:
    """The times of a video's frames, in the order of its file, from packets that are read and not decoded.

    Headers are not to be relied upon. Frames before the beginning of a video that was cut without being encoded again
    are not among them. Raises Unreadable where there are none, or a tenth of those promised is missing.
    """
    stream = video_stream(container)
    times, count = [], 0
    for packet in container.demux(stream):
        count += packet.size > 0
        if packet.size and not packet.is_discard:
            times.append(packet.pts if packet.pts is not None else packet.dts)
    if not times:
        raise Unreadable("has no frames")
    if count < (1 - _BROKEN_SHARE) * stream.frames:
        raise Unreadable(f"is cut off: {count} of {stream.frames} frames")
    return times


def _count_on_grid(path: Path) -> int:
    """How many times k/25 the video spans."""
    with needed("av").open(str(path)) as container:
        times = packet_times(container)
        stream = video_stream(container)
        rate, base = stream.average_rate, stream.time_base
    span = (len(times) - 1) / Fraction(rate or RATE) if None in times else (max(times) - min(times)) * base
    # the nearest, so that rounded timestamps lose no frame; a tie goes down, as where every second frame is left out
    return math.ceil(span * RATE - Fraction(1, 2)) + 1


def decoded(container: "InputContainer") -> "Iterator[tuple[Fraction, VideoFrame]]":
    """Frames with their times after the first one, never decreasing. Packets that cannot be decoded are left out."""
    av = needed("av")
    stream = video_stream(container)
    first = latest = None
    packets = broken = count = 0
    for packet in container.demux(stream):
        packets += 1
        try:
            frames = packet.decode()
        except av.InvalidDataError:
            broken += 1
            continue
        for frame in frames:
            counted = count / Fraction(stream.average_rate or RATE)
            time = counted if frame.pts is None else frame.pts * frame.time_base
            first = time if first is None else first
            latest = max(time - first, latest or Fraction(0))
            count += 1
            yield latest, frame
    if broken > _BROKEN_SHARE * packets:
        raise Unreadable(f"has broken data: {broken} of {packets} packets cannot be decoded")


def _on_grid(frames: "Iterator[tuple[Fraction, VideoFrame]]", start: int, stop: int) -> "Iterator[VideoFrame]":
    """For each k from `start` to `stop`, the frame that is nearest to the time k/25; the earlier one of two."""
    position, before = start, None
    for time, frame in frames:
        if before is not None:
            middle = (before[0] + time) / 2
            while position < stop and Fraction(position, RATE) <= middle:
                yield before[1]
                position += 1
        if position == stop:
            return
        before = time, frame
    while before is not None and position < stop and Fraction(position, RATE) <= before[0] + Fraction(1, 2 * RATE):
        yield before[1]
        position += 1
