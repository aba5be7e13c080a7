"""A method for the tests that learns from encoded pictures: a linear map from their pixels, fitted at once."""

import linear_pixels
import torch
from torch import Tensor

from platform.datasets.encoded_pictures import EncodedPictures


class LinearModel(linear_pixels.LinearModel):
    @staticmethod
    def numbers(x: EncodedPictures) -> Tensor:
        """(N, D)."""
        assert isinstance(x, EncodedPictures)
        rows = torch.arange(len(x)).split(16)
        return torch.cat([batch.flatten(1).float() / 255 for batch in x.batches(rows, workers=0)])


class Linear(linear_pixels.Linear):
    Model = LinearModel
    learns_from = ("pictures",)


method = Linear()
