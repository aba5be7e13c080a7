import pytest
import torch

from platform.zeroshot.caption_attention import CaptionAttention


def attention(image, text, tokens=("[CLS]", "man", "kicks"), grid=(1, 2)):
    return CaptionAttention(tokens, torch.tensor(image), torch.tensor(text), grid, "last layer")


SHARED = [[0.5, 0.125, 0.125], [0.0, 0.25, 0.25]], [[0.25, 0.0], [0.25, 0.25]]


def test_places_leave_out_the_tokens_that_stand_for_none():
    assert attention(*SHARED).places().tolist() == [[[0.125, 0.125]], [[0.25, 0.25]]]
    assert attention(*SHARED).chosen == ("man", "kicks")


def test_the_images_share_is_known_where_one_softmax_is_over_both():
    assert attention(*SHARED).image_share().tolist() == [0.75, 0.5]
    each = attention([[0.5, 0.25, 0.25], [0.0, 0.5, 0.5]], [[1.0, 0.0], [0.5, 0.5]])
    assert each.image_share() is None


@pytest.mark.parametrize("changed", [{"tokens": ("[CLS]", "man")}, {"grid": (2, 2)}])
def test_shapes_that_do_not_fit_are_refused(changed):
    with pytest.raises(ValueError, match=r"attention of \(2, 3\) and \(2, 2\) for"):
        attention(*SHARED, **changed)
