"""A picture file as a square of RGB pixels, whatever it was stored as."""

import math
import warnings
from contextlib import suppress
from io import BytesIO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

# what stands in files named .jpg or .png; PIL's other decoders, some of which start programs, are never reached
_FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "GIF", "TIFF")
_LONGEST = 16  # edges in relation: what is longer is cut before it is resized, since the crop takes its middle anyway


class UnreadableError(Exception):
    """A file that gives no picture; the message is the reason, as it is told of several files."""


def square(content: bytes, side: int) -> np.ndarray:
    """(3, side, side) uint8: the shorter edge resized to `side` (bilinear, antialiased), then the middle of the longer.

    Edge lengths and offsets are torchvision's (`Resize`, `CenterCrop`). A picture is turned as its EXIF says, and
    transparent parts become white. Raises UnreadableError where the file is damaged or no picture.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd metadata, which do not matter here
            with Image.open(BytesIO(content), formats=_FORMATS) as image:
                return np.asarray(cropped(_rgb(image), side)).transpose(2, 0, 1)
    except UnidentifiedImageError as error:
        raise UnreadableError("no pictures, whatever their suffix") from error
    except Exception as error:  # a damaged file may fail anywhere in a decoder, with any exception
        raise UnreadableError("truncated or damaged") from error


def _rgb(image: Image.Image) -> Image.Image:
    image.load()  # the whole file, so that a truncated one fails here
    with suppress(Exception):  # a picture whose metadata are damaged is a picture all the same
        ImageOps.exif_transpose(image, in_place=True)
    if image.mode.startswith(("I", "F")):  # 16 bits of grey, which `convert` would cut off at 255
        grey = np.asarray(image).astype(np.float32)
        return Image.fromarray(np.clip(grey / 257, 0, 255).round().astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
    return image.convert("RGB")


def cropped(image: Image.Image, side: int) -> Image.Image:
    """The middle of a picture whose shorter edge is resized to `side`, as `square` takes it."""
    shorter = min(image.size)
    if max(image.size) > _LONGEST * shorter:
        image = _middle(image, *(min(edge, _LONGEST * shorter) for edge in image.size))
    width, height = (max(side, math.floor(side * edge / shorter)) for edge in image.size)
    return _middle(image.resize((width, height), Image.Resampling.BILINEAR), side, side)


def _middle(image: Image.Image, width: int, height: int) -> Image.Image:
    left, top = round((image.width - width) / 2), round((image.height - height) / 2)
    return image.crop((left, top, left + width, top + height))
