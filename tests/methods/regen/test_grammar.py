import math

import pytest
import torch

from methods.regen.clip_towers import load_clip
from methods.regen.grammar import MaskedLanguageModel, load_masked_lm, train_discriminator
from platform.errors import InputError

TEXTS = ["a man kicks the ball", "snow", "the woman throws balls in the snow"]
KINDS = ["bert", "distilbert", "deberta", "published deberta"]


def _one_by_one(name, text):
    """Eq. 5's terms by transformers' own forward, one masked place after the other."""
    from transformers import AutoModelForMaskedLM, AutoTokenizer

    head = {"legacy": False} if "published" in name else {}
    model, tokenizer = AutoModelForMaskedLM.from_pretrained(name, **head).eval(), AutoTokenizer.from_pretrained(name)
    ids = torch.tensor(tokenizer.encode(text))
    found = []
    for place in range(1, len(ids) - 1):
        masked = ids.clone()
        masked[place] = tokenizer.mask_token_id
        with torch.no_grad():
            logits = model(input_ids=masked[None], attention_mask=torch.ones_like(masked)[None]).logits
        found.append(logits[0, place].log_softmax(dim=0)[ids[place]])
    return torch.stack(found)


@pytest.mark.parametrize("kind", KINDS)
def test_scores_are_equation_5_place_by_place(models, kind):
    model = load_masked_lm(models(kind), "cpu")
    model.rows = 5  # passes that mix texts
    found = model.per_token(TEXTS)
    for text, own in zip(TEXTS, found, strict=True):
        torch.testing.assert_close(own, _one_by_one(models(kind), text), atol=1e-5, rtol=1e-5)
    assert [len(own) for own in found] == [5, 1, 8]  # "balls" is two tokens
    torch.testing.assert_close(model.scores(TEXTS), torch.stack([own.mean() for own in found]))


def test_as_few_passes_as_the_rows_allow(models):
    model = load_masked_lm(models("bert"), "cpu")
    seen = []
    model.model.register_forward_pre_hook(
        lambda _, __, values: seen.append(tuple(values["input_ids"].shape)), with_kwargs=True
    )
    model.rows = 6
    model.per_token(TEXTS)
    assert seen == [(6, 7), (6, 10), (2, 10)]  # the short texts first: less padding
    assert MaskedLanguageModel(model.model, model.tokenizer).rows == 512


def test_texts_without_a_token_and_no_texts(models):
    model = load_masked_lm(models("bert"), "cpu")
    first, empty = model.scores(["a man", ""]).tolist()
    assert first == pytest.approx(model.scores(["a man"]).item())
    assert empty == pytest.approx(-math.log(model.model.config.vocab_size))
    assert model.scores([]).shape == (0,)
    assert model.per_token([""])[0].shape == (0,)
    assert model.scores(["snow " * 50]).isfinite().all()  # cut off at the model's 24 positions


def test_the_model_stays_as_it_is(models):
    model = load_masked_lm(models("bert"), "cpu").train()
    assert not any(part.training for part in model.modules())
    assert not any(own.requires_grad for own in model.parameters())
    assert not model.scores(TEXTS).requires_grad


def test_what_is_no_masked_language_model_is_one_line(models):
    for kind in ("git", "clip"):
        with pytest.raises(InputError, match=r"grammar `.*` cannot be loaded") as caught:
            load_masked_lm(models(kind), "cpu")
        assert str(caught.value).isprintable()


def test_a_discriminator_is_handed_on_from_here(models):
    found = train_discriminator(TEXTS, load_clip(models("clip"), "cpu"), seed=0, epochs=1)
    assert found.scores(TEXTS).shape == (3,)
