"""Encoded frames for the tests: even squares, whose grey or colour says which sample and frame they are."""

from io import BytesIO

import numpy as np
from PIL import Image

from platform.datasets.encoded_frames import EncodedFrames
from platform.datasets.encoded_pictures import EncodedPictures
from platform.datasets.frames_file import writing_frames

SIDE = 16


def jpeg(colour, side=SIDE):
    file = BytesIO()
    Image.fromarray(np.full((side, side, 3), colour, np.uint8)).save(file, "JPEG", quality=90)
    return file.getvalue()


def write_frames(path, colours, side=SIDE):
    """An opened file of frames of these colours: (N, F) greys, or (N, F, 3)."""
    with writing_frames(path, len(colours[0]), side) as writer:
        for sample in colours:
            writer.add([jpeg(colour, side) for colour in sample])
    return EncodedFrames(path)


def write_pictures(path, pictures):
    """An opened file of exact pictures (N, 3, side, side) uint8."""
    with writing_frames(path, 1, pictures.shape[-1]) as writer:
        for picture in pictures:
            file = BytesIO()
            Image.fromarray(np.ascontiguousarray(np.asarray(picture).transpose(1, 2, 0))).save(file, "PNG")
            writer.add([file.getvalue()])
    return EncodedPictures(path)


def greys(samples, frames=2):
    """(N, F): another one for each frame of each sample."""
    return 4 * np.arange(samples * frames).reshape(samples, frames)


def first_pixels(decoded):
    """(n, F): the red of each frame's first pixel, from (n, F, 3, side, side)."""
    return decoded[:, :, 0, 0, 0].cpu().numpy()
