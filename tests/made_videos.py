"""Short videos for the tests, made here."""

from fractions import Fraction

import numpy as np
import pytest


def write_video(path, frames, rate=25, codec="mpeg4", **codec_options):
    """A video file of frames (T, H, W, 3) uint8."""
    av = pytest.importorskip("av")
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=Fraction(rate))
        stream.width, stream.height = frames.shape[2], frames.shape[1]
        stream.pix_fmt = "yuv420p"
        stream.bit_rate = 4_000_000
        for name, value in codec_options.items():
            setattr(stream.codec_context, name, value)
        for image in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    return path


def brightening(count, height=48, width=64, step=8):
    """(T, H, W, 3): even frames of grey, each brighter than the one before."""
    return np.broadcast_to((16 + step * np.arange(count))[:, None, None, None], (count, height, width, 3)).astype(
        np.uint8
    )


def moving(count, height=48, width=64, speed=2):
    """(T, H, W, 3): a pattern that moves to the right, `speed` pixels a frame."""
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    frames = [128 + 60 * np.sin((x - speed * t) / 5) + 60 * np.cos(y / 4) for t in range(count)]
    return np.clip(np.stack(frames), 0, 255).astype(np.uint8)[..., None].repeat(3, axis=-1)
