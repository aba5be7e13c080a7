from collections import Counter

import pytest
import torch

from methods.regen import discriminator
from methods.regen.clip_towers import load_clip
from methods.regen.discriminator import GrammarDiscriminator, perturbed, train_discriminator
from platform.errors import InputError
from platform.population.draws import generator

CAPTIONS = ["a man kicks the ball", "the woman throws a ball in the snow", "a woman in the snow", "the man"]


def test_training_tells_captions_from_their_perturbations(models):
    clip = load_clip(models("clip"), "cpu")
    before = clip.text(CAPTIONS)
    found = train_discriminator(CAPTIONS[:3] * 16, clip, seed=0, epochs=12, batch_size=32, learning_rate=5e-3)
    assert found.losses[-1] < 0.5 < found.losses[0]
    draw = generator("other perturbations")
    wrong = [perturbed(own, CAPTIONS, draw) for own in CAPTIONS[:3] * 10]
    correct, perturbations = found.scores(CAPTIONS[:3]), found.scores(wrong)
    assert correct.mean() > perturbations.mean() + 0.3
    scores = torch.cat([correct, perturbations])
    assert ((scores >= 0) & (scores <= 1)).all()
    assert not scores.requires_grad
    torch.testing.assert_close(clip.text(CAPTIONS), before)  # the towers of the rewards are others


def test_the_seed_names_all_that_is_drawn(models):
    clip = load_clip(models("clip"), "cpu")

    def trained(seed):
        return train_discriminator(CAPTIONS, clip, seed, epochs=2, batch_size=4).scores(CAPTIONS)

    torch.manual_seed(1)
    first = trained(3)
    torch.manual_seed(2)
    assert torch.equal(trained(3), first)
    assert not torch.equal(trained(4), first)


def test_scores_go_through_in_batches(models, monkeypatch):
    found = GrammarDiscriminator(load_clip(models("clip"), "cpu"))
    expected = found.scores(CAPTIONS)
    monkeypatch.setattr(discriminator, "_BATCH", 3)
    torch.testing.assert_close(found.scores(CAPTIONS), expected)
    assert found.scores([]).shape == (0,)


@pytest.mark.parametrize("caption", ["ball", "the man", "the the", CAPTIONS[1]])
def test_a_perturbation_is_never_the_caption(caption):
    draw = generator(caption)
    for _ in range(100):
        found = perturbed(caption, CAPTIONS, draw)
        assert found
        assert found != caption


def test_each_error_is_what_it_is_called():
    words, draw = CAPTIONS[1].split(), generator("errors")
    for _ in range(50):
        assert Counter(discriminator._swapped(words, [], draw)) == Counter(words)
        assert Counter(discriminator._shuffled(words, [], draw)) == Counter(words)
        assert not Counter(words) - Counter(discriminator._repeated(words, [], draw))
        assert len(discriminator._repeated(words, [], draw)) > len(words)
        assert len(discriminator._inserted(words, ["x y z"], draw)) > len(words)
        assert set(discriminator._inserted(words, ["x y z"], draw)) & {"x", "y", "z"}
        assert 0 < len(discriminator._removed(words, [], draw)) < len(words)
    swaps = {tuple(discriminator._swapped(["a", "b", "c", "d"], [], draw)) for _ in range(200)}
    assert ("c", "d", "a", "b") in swaps  # groups
    assert ("d", "b", "c", "a") in swaps  # words far apart


def test_no_caption_is_one_line(models):
    with pytest.raises(InputError, match="no caption to learn from"):
        train_discriminator(["", " "], load_clip(models("clip"), "cpu"), seed=0)
