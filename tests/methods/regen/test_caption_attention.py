"""A trained model tells what the tokens of its captions attended to."""

import pytest
import torch
from made_frames import write_frames
from made_regen import SIDE

from methods.regen import ReGenModel, method
from methods.regen.captioners import Decoding, load_captioner
from platform.capabilities import Attending, attention_of


@pytest.fixture(scope="module")
def frames(tmp_path_factory):
    return write_frames(tmp_path_factory.mktemp("clips") / "clips.arrow", [[10, 200], [250, 90], [60, 60]], SIDE)


@pytest.fixture(params=["git", "blip"])
def model(request, models):
    fields = {"captioner": models(request.param), "clip": models("clip"), "max_tokens": 6, "beams": 2}
    captioner = load_captioner(fields["captioner"], 2, "cpu")
    return ReGenModel(
        seen=("man", "woman"),
        unseen=("ball", "snow"),
        combination=None,
        config=method.configure(fields),
        weights=captioner.state_dict(),
        frames=2,
        semantics=torch.eye(2),
    )


def test_it_is_of_the_tokens_of_the_caption(model, frames):
    assert isinstance(model, Attending)
    found = attention_of(model, frames)
    captioner = model._captioner
    for own, caption in zip(found, model.captions(frames), strict=True):
        assert own.tokens[0] == captioner.tokenizer.convert_ids_to_tokens(captioner.network.marks.begin)
        ids = captioner.tokenizer.convert_tokens_to_ids(list(own.chosen))
        assert captioner.tokenizer.decode(ids, skip_special_tokens=True).strip() == caption


def test_its_rows_are_the_captioners_of_the_token_before(model, frames):
    captioner = model._captioner
    visual = captioner.visual(frames.decoded([1]))
    tokens = captioner.generate(visual, Decoding("beam", 2)).tokens[:, 0]
    image, text = captioner.attention(visual, tokens)
    own, count = model.attention(frames[[1]])[0], int((tokens != captioner.network.marks.padding).sum()) - 1
    torch.testing.assert_close(own.image, image[0, :count])
    torch.testing.assert_close(own.text, text[0, :count, :count])
    assert (own.text.triu(1) == 0).all()


def test_places_are_the_patches_and_the_image_has_a_share_in_git_alone(model, frames):
    own = model.attention(frames)[0]
    assert own.grid == (2, 2)  # patches of 8 pixels
    assert own.image.shape[1] == 5  # and the class token, which is none
    assert own.places().shape == (len(own.chosen), 2, 2)
    torch.testing.assert_close(own.places().flatten(1), own.image[:, 1:])
    assert (own.image_share() is not None) == (model._captioner.network.pretrained.config.model_type == "git")


def test_words_end_with_the_caption(model):
    captioner, marks = model._captioner, model._captioner.network.marks
    tokens = torch.tensor([[marks.begin, 7, marks.end, marks.padding], [marks.begin, 7, 8, 9]])
    short, whole = captioner.words(tokens)
    assert (len(short), len(whole)) == (3, 4)
    assert short[:2] == whole[:2]
