import math

import pytest
import torch
from torch.nn.functional import normalize

from methods.regen.clip_towers import load_clip
from methods.regen.grammar import load_masked_lm
from methods.regen.rewards import Rewards, class_reward, clip_reward
from platform.population.draws import generator

TEXTS = ["a man kicks the ball", "snow", "the woman throws a ball", "snow"]
NAMES = ["kicks ball", "snow", "throws ball"]
LABELS = torch.tensor([0, 1, 2, 0])


def _random(*shape):
    return torch.randn(*shape, generator=generator("rewards", shape))


@pytest.fixture
def parts(models):
    clip = load_clip(models("clip"), "cpu")
    return clip, load_masked_lm(models("bert"), "cpu"), clip.text(NAMES), _random(4, 8)


def test_the_class_reward_is_the_log_probability_of_the_true_class():
    captions, classes, labels, tau = _random(2, 5), _random(3, 5), [2, 0], 0.1
    found = class_reward(captions, classes, torch.tensor(labels), tau)
    for caption, label, own in zip(captions, labels, found.tolist(), strict=True):
        cosines = [float(caption @ c / (caption.norm() * c.norm())) for c in classes]
        shares = [math.exp(cosine / tau) for cosine in cosines]
        assert own == pytest.approx(math.log(shares[label] / sum(shares)), rel=1e-4)
    nearer = class_reward(classes[:1], classes, torch.tensor([0]), tau)
    assert found.max() < nearer <= 0  # a caption that is its class's name has the largest reward


def test_the_clip_reward_is_the_cosine_where_it_is_positive():
    clips, captions = _random(50, 4), _random(50, 4).roll(1, 0)
    found = clip_reward(clips, captions)
    cosines = (normalize(clips, dim=1) * normalize(captions, dim=1)).sum(dim=1)
    torch.testing.assert_close(found, cosines.clamp_min(0))
    assert (found == 0).any()


def test_the_total_is_the_weighted_sum(parts):
    clip, grammar, classes, clips = parts
    found = Rewards(clip, grammar, classes, 1.0, 5.0, 0.2, tau=0.1)(TEXTS, LABELS, clips)
    assert list(found) == ["class", "clip", "grammar", "total", "finite"]
    torch.testing.assert_close(found["class"], class_reward(clip.text(TEXTS), classes, LABELS, 0.1))
    torch.testing.assert_close(found["clip"], clip_reward(clips, clip.text(TEXTS)))
    torch.testing.assert_close(found["grammar"], grammar.scores(TEXTS))
    torch.testing.assert_close(found["total"], found["class"] + 5 * found["clip"] + 0.2 * found["grammar"])
    assert found["finite"].all()


def test_a_weight_of_0_leaves_a_reward_out(parts):
    clip, grammar, classes, clips = parts
    found = Rewards(clip, grammar, classes, 1.0, 0.0, 0.0)(TEXTS, LABELS, clips)
    assert "grammar" not in found
    torch.testing.assert_close(found["total"], found["class"])
    with pytest.raises(ValueError, match=r"lambda_grammar=0\.2 without a grammar"):
        Rewards(clip, None, classes)
    found = Rewards(clip, None, classes, 0.0, 0.0, 0.0)(TEXTS, LABELS, clips)
    assert found["total"].tolist() == [0.0] * 4


def test_what_is_not_finite_is_told_and_stays(parts):
    clip, grammar, classes, clips = parts
    clips[1] = torch.nan
    found = Rewards(clip, grammar, classes)(["a man", "snow", ""], LABELS[:3], clips[:3])
    assert found["finite"].tolist() == [True, False, True]
    assert found["total"].isnan().tolist() == [False, True, False]
    without = Rewards(clip, grammar, classes, lambda_clip=0.0)(["a man", "snow", ""], LABELS[:3], clips[:3])
    assert without["finite"].tolist() == [True, True, True]  # the clip's nan has no weight


def test_each_caption_is_computed_once(parts, monkeypatch):
    clip, grammar, classes, clips = parts
    asked = []
    own = clip.text
    monkeypatch.setattr(clip, "text", lambda texts: asked.append(list(texts)) or own(texts))
    rewards = Rewards(clip, grammar, classes)
    first = rewards(TEXTS, LABELS, clips)
    again = rewards(["ball", *TEXTS[:3]], LABELS.roll(1), clips.roll(1, 0))
    assert asked == [["a man kicks the ball", "snow", "the woman throws a ball"], ["ball"]]
    assert (rewards.counted.hits, rewards.counted.misses, rewards.counted.repeated) == (3, 4, 1)
    for name in ("class", "clip", "grammar", "total"):
        torch.testing.assert_close(again[name][1:], first[name][:3])


@pytest.mark.parametrize("capacity", [0, 1, 2, 3, 100])
def test_a_full_memory_forgets_what_was_unused_longest(parts, capacity):
    clip, grammar, classes, _ = parts
    rewards = Rewards(clip, grammar, classes, capacity=capacity)
    draw, words = generator(capacity), ["a", "man", "ball", "snow", "the", "woman"]
    used = []  # the latest last
    for _ in range(20):
        texts = [words[int(place)] for place in torch.randint(len(words), (3,), generator=draw)]
        remembered = used[len(used) - min(capacity, len(used)) :]
        before = rewards.counted.hits
        embeddings, scores = rewards.of_texts(texts)
        torch.testing.assert_close(embeddings, clip.text(texts))
        torch.testing.assert_close(scores, grammar.scores(texts))
        different = list(dict.fromkeys(texts))
        assert rewards.counted.hits - before == sum(text in remembered for text in different)
        known = [text for text in different if text in remembered]
        used = [text for text in used if text not in different] + known + [t for t in different if t not in known]
        assert len(rewards._known.places) <= capacity
