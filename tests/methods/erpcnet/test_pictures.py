import pytest
import torch
from made_erpcnet import STORED, make_task
from made_frames import greys, write_frames, write_pictures

from methods.erpcnet.pictures import augmented, centred, in_batches, normalised, stored_side
from platform.errors import InputError


@pytest.fixture
def pixels():
    """(16, 3, 72, 72)."""
    return make_task()[0].features.view(-1, 3, STORED, STORED)


def test_pictures_are_cut_and_flipped_by_named_draws(pixels):
    assert torch.equal(centred(pixels, 64), pixels[:, :, 4:68, 4:68])
    torch.manual_seed(0)
    first = augmented(pixels, 64, 0.5)
    assert first.shape == (16, 3, 64, 64)
    assert first.dtype == torch.uint8
    torch.manual_seed(0)
    assert torch.equal(augmented(pixels, 64, 0.5), first)
    white = normalised(torch.full((1, 3, 2, 2), 255, dtype=torch.uint8))[0, :, 0, 0]
    torch.testing.assert_close(white, torch.tensor([0.515 / 0.229, 0.544 / 0.224, 0.594 / 0.225]))


def test_batches_are_the_same_from_memory_and_from_a_file(pixels, tmp_path):
    rows = torch.randperm(len(pixels), generator=torch.Generator().manual_seed(0)).split(6)
    for features in (pixels.flatten(1), write_pictures(tmp_path / "p.arrow", pixels)):
        found = list(in_batches(features, rows))
        assert [len(batch) for batch in found] == [6, 6, 4]
        assert torch.equal(torch.cat(found), pixels[torch.cat(rows)])


def test_reading_a_file_draws_nothing(pixels, tmp_path):
    features = write_pictures(tmp_path / "p.arrow", pixels)
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    list(in_batches(features, torch.arange(8).split(4)))
    assert torch.equal(torch.rand(3), expected)


def test_what_is_no_picture_or_too_small_is_told(pixels, tmp_path):
    with pytest.raises(InputError, match=r"features of type uint8, 2 × 3 × 16 × 16 a sample, are no square pictures"):
        stored_side(write_frames(tmp_path / "f.arrow", greys(3)), 16)
    features = write_pictures(tmp_path / "p.arrow", pixels[:2])
    assert stored_side(features, 72) == 72
    with pytest.raises(InputError, match="side=80: larger than the stored pictures, 72×72; use 72 or less"):
        stored_side(features, 80)
