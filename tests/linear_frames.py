"""A method for the tests that learns from encoded frames: a linear map from their mean colours, fitted at once."""

import linear_pixels
import torch
from torch import Tensor

from platform.datasets.encoded_frames import EncodedFrames


class LinearModel(linear_pixels.LinearModel):
    @staticmethod
    def numbers(x: EncodedFrames) -> Tensor:
        """(N, 3 F): the mean of each plane."""
        assert isinstance(x, EncodedFrames)
        rows = torch.arange(len(x)).split(16)
        return torch.cat([batch.float().mean((3, 4)).flatten(1) / 255 for batch in x.batches(rows, workers=0)])


class Linear(linear_pixels.Linear):
    Model = LinearModel
    learns_from = ("frames",)


method = Linear()
