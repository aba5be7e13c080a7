"""Samples that are single encoded pictures, in the same file as encoded frames: nothing is decoded before it is asked
for."""

from typing import TYPE_CHECKING, ClassVar, Literal

from platform.datasets.encoded_frames import EncodedFrames
from platform.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from torch import Size, Tensor

    from platform.datasets.frames_file import FramesFile

_PNG = b"\x89PNG"


class EncodedPictures(EncodedFrames):
    """N pictures in a file of encoded frames, one frame a sample: JPEG, or PNG where the pixels are to be exact.

    It stands where a tensor of uint8 pictures would, (N, 3, side, side), and is read as `EncodedFrames` are; what
    `decoded` and `batches` return has no axis of frames. Raises InputError where samples have several frames.
    """

    kind: ClassVar[Literal["frames", "pictures"]] = "pictures"

    def _set(self, path: "Path | None", file: "FramesFile", rows: "np.ndarray", device: str) -> None:
        if file.frames != 1:
            raise InputError(f"{path}: has {file.frames} frames a sample, and pictures are one; import the data again")
        super()._set(path, file, rows, device)

    @property
    def shape(self) -> "Size":
        """(N, 3, side, side), of what `decoded` returns."""
        import torch

        return torch.Size((len(self), 3, self.side, self.side))

    @property
    def exact(self) -> bool:
        """Whether the pictures are kept without loss, by the first of them."""
        return bool(len(self)) and self.encoded(0)[0].startswith(_PNG)

    def _decoded(self) -> "Tensor":
        return super()._decoded()[:, 0]
