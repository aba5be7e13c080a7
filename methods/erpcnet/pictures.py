"""What the network sees of a stored picture: its middle, or a random crop in training, normalised."""

import torch
from torch import Tensor

from platform.errors import InputError
from platform.zeroshot.task import pictures_of

_MEAN, _DEVIATION = (
    (0.485, 0.456, 0.406),
    (0.229, 0.224, 0.225),
)  # of ImageNet's pictures, as torchvision's weights want


def normalised(pictures: Tensor) -> Tensor:
    """(N, 3, H, W) float of uint8 pictures, as torchvision's weights want them."""
    mean, deviation = (pictures.new_tensor(v, dtype=torch.float32)[:, None, None] for v in (_MEAN, _DEVIATION))
    return (pictures.float() / 255 - mean) / deviation


def squares(features: Tensor, side: int) -> Tensor:
    """(N, 3, S, S) pictures of features (N, 3·S·S). Raises InputError where they are none, or smaller than `side`."""
    if (pictures := pictures_of(features)) is None:
        kind = str(features.dtype).removeprefix("torch.")
        raise InputError(f"features of type {kind}, {features.shape[1]} wide, are no square pictures in uint8")
    if side > (stored := pictures.shape[-1]):
        raise InputError(f"side={side}: larger than the stored pictures, {stored}×{stored}; use {stored} or less")
    return pictures


def centred(features: Tensor, side: int) -> Tensor:
    """The middle of each picture, (N, 3, side, side) uint8. features: (N, 3·S·S)."""
    pictures = squares(features, side)
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
