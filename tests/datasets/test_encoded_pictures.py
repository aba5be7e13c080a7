import multiprocessing
import pickle

import numpy as np
import pytest
import torch
from made_frames import SIDE, greys, write_frames, write_pictures

from platform.datasets.encoded_pictures import EncodedPictures
from platform.errors import InputError

PIXELS = np.random.default_rng(0).integers(0, 256, (7, 3, SIDE, SIDE), dtype=np.uint8)


@pytest.fixture
def pictures(tmp_path):
    return write_pictures(tmp_path / "p.arrow", PIXELS)


def test_a_picture_has_no_axis_of_frames(pictures):
    assert (pictures.kind, tuple(pictures.shape), pictures.side) == ("pictures", PIXELS.shape, SIDE)
    np.testing.assert_array_equal(pictures.decoded().numpy(), PIXELS)


def test_views_are_pictures_too(pictures):
    for view, expected in (
        (pictures[2:5], PIXELS[2:5]),
        (pictures[torch.tensor([6, 0])], PIXELS[[6, 0]]),
        (pickle.loads(pickle.dumps(pictures[3:])), PIXELS[3:]),
        (pictures.split(4)[1], PIXELS[4:]),
        (pictures[:0], PIXELS[:0]),
    ):
        assert isinstance(view, EncodedPictures)
        np.testing.assert_array_equal(view.decoded().numpy(), expected)


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_are_decoded_ahead_in_their_order(pictures, workers):
    rows = [torch.tensor([5, 1]), torch.tensor([0]), torch.tensor([3, 3, 2])]
    for found, own in zip(pictures.batches(rows, workers), rows, strict=True):
        np.testing.assert_array_equal(found.numpy(), PIXELS[own.numpy()])
    assert multiprocessing.active_children() == []


def test_whether_they_are_exact_is_seen_in_the_file(pictures, tmp_path):
    write_frames(tmp_path / "lossy.arrow", greys(3, frames=1))
    assert pictures.exact
    assert not EncodedPictures(tmp_path / "lossy.arrow").exact


def test_frames_of_videos_are_no_pictures(tmp_path):
    write_frames(tmp_path / "f.arrow", greys(3))
    with pytest.raises(InputError, match=r"f\.arrow: has 2 frames a sample, and pictures are one"):
        EncodedPictures(tmp_path / "f.arrow")
