"""What the network sees of a stored picture: its middle, or a random crop in training, normalised."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from platform.datasets.encoded_frames import EncodedFrames
from platform.datasets.encoded_pictures import EncodedPictures
from platform.errors import InputError
from platform.zeroshot.task import picture_side, pictures_of

_MEAN, _DEVIATION = (
    (0.485, 0.456, 0.406),
    (0.229, 0.224, 0.225),
)  # of ImageNet's pictures, as torchvision's weights want


def normalised(pictures: Tensor) -> Tensor:
    """(N, 3, H, W) float of uint8 pictures, as torchvision's weights want them."""
    mean, deviation = (pictures.new_tensor(v, dtype=torch.float32)[:, None, None] for v in (_MEAN, _DEVIATION))
    return (pictures.float() / 255 - mean) / deviation


def stored_side(features: Tensor | EncodedFrames, side: int) -> int:
    """Of a task's pictures, in pixels. Raises InputError where they are none, or smaller than `side`."""
    if (stored := picture_side(features)) is None:
        kind, shape = str(features.dtype).removeprefix("torch."), " × ".join(map(str, features.shape[1:]))
        raise InputError(f"features of type {kind}, {shape} a sample, are no square pictures in uint8")
    if side > stored:
        raise InputError(f"side={side}: larger than the stored pictures, {stored}×{stored}; use {stored} or less")
    return stored


def in_batches(features: Tensor | EncodedPictures, rows: Sequence[Tensor]) -> Iterator[Tensor]:
    """The stored pictures of each batch of rows in turn, (n, 3, S, S) uint8, where the features are."""
    if isinstance(features, EncodedPictures):
        yield from features.batches(rows)
        return
    for batch in rows:
        yield pictures_of(features, batch.to(features.device))


def centred(pictures: Tensor, side: int) -> Tensor:
    """The middle of each picture, (N, 3, side, side) uint8. pictures: (N, 3, S, S)."""
    first = offset_of_centre(pictures.shape[-1], side)
    return pictures[:, :, first : first + side, first : first + side]


def offset_of_centre(stored: int, side: int) -> int:
    """Pixels from a stored picture's left and top to those of its middle."""
    return (stored - side) // 2


def augmented(pictures: Tensor, side: int, smallest: float) -> Tensor:
    """A random resized crop of each picture, flipped half of the time, (N, 3, side, side) uint8.

    pictures: (N, 3, S, S) uint8. Draws from torch's own generator on the CPU, as torchvision does.
    """
    from torchvision.transforms import v2  # here: torchvision takes a second to import, which a verb's help need not

    crop = v2.Compose([v2.RandomResizedCrop(side, scale=(smallest, 1.0), antialias=True), v2.RandomHorizontalFlip()])
    return torch.stack([crop(picture) for picture in pictures])  # one by one: a batch would share one draw
