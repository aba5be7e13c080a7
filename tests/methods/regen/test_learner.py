import math

import pytest
import torch
from made_regen import SIDE, clips, encoded

from methods.regen import ReGenModel, method
from platform.errors import InputError, InputWarning
from platform.method import Member
from platform.workers import Workers
from platform.zeroshot.task import Task

ALONE = Workers(torch.device("cpu"))
SEEN, UNSEEN = ("man kicks ball", "woman throws ball"), ("man in snow", "woman in snow")


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    """Six clips of noise, of two classes."""
    frames = encoded(tmp_path_factory.mktemp("clips") / "clips.arrow", clips(6, 2, SIDE))
    labels = torch.tensor([0, 1, 0, 1, 0, 1])
    return Task(SEEN, UNSEEN, frames, labels, torch.eye(4))


@pytest.fixture
def configured(models, tmp_path):
    """A function of fields to a configuration with tiny models."""
    corpus = tmp_path / "captions.txt"
    corpus.write_text("a man kicks the ball\na woman throws the ball\na man in snow\nthe woman in the snow\n")

    def configured(captioner="git", **fields):
        tiny = {"captioner": models(captioner), "clip": models("clip"), "language_model": models("bert"), "epochs": 2}
        tiny |= {"batch_size": 3, "beams": 2, "max_tokens": 6, "learning_rate": 1e-3, "corpus": str(corpus)}
        return method.configure({**tiny, "tau": 0.1, **fields})

    return configured


def trained(task, config, epochs=2, state=None, seed=0):
    learner = method.learner(Member(task, config, seed, state), ALONE)
    return learner, [learner.train_epoch() for _ in range(epochs)]


@pytest.mark.parametrize("captioner", ["git", "blip"])
@pytest.mark.parametrize("explore", ["beam", "sample"])
def test_rewards_train_a_captioner(task, configured, captioner, explore):
    learner, told = trained(task, configured(captioner, explore=explore))
    assert all(math.isfinite(value) for value in told[-1].values())
    assert {"loss", "total_reward", "class_reward", "clip_reward", "grammar_reward", "greedy_reward"} <= told[0].keys()
    model = learner.model()
    assert len(model.captions(task.features)) == 6
    torch.testing.assert_close(model.unseen_scores(task.features).exp().sum(dim=1), torch.ones(6))


@pytest.mark.parametrize(
    "fields",
    [
        {"rest_epochs": 1, "rest_captions": 2},
        {"objective": "class_names"},
        {"grammar": "discriminator"},
        {"dense_grammar": True},
        {"lambda_grammar": 0.0},
        {"accumulation": 3},
        {"precision": "bfloat16", "checkpointing": True, "frozen": "vision"},
    ],
    ids=str,
)
def test_a_training_that_goes_on_ends_with_the_same_numbers(task, configured, fields):
    config = configured(**fields)
    whole, told = trained(task, config)
    begun, first = trained(task, config, 1)
    resumed, second = trained(task, config, 1, begun.state())
    assert [*first, *second] == told
    for name, tensor in whole.state().items():
        assert torch.equal(resumed.state()[name], tensor), name
    start = method.learner(Member(task, config, 0), ALONE).state()
    moved = {
        name for name in start if name.startswith("weights.") and not torch.equal(start[name], whole.state()[name])
    }
    assert moved
    if fields.get("frozen") == "vision":
        assert not any("image_encoder" in name for name in moved)


def test_a_batch_in_parts_is_the_same_step(task, configured):
    whole, parts = (trained(task, configured(accumulation=a, explore="beam"), 1)[0].state() for a in (1, 3))
    for name, tensor in whole.items():
        if name.startswith("exp_avg."):
            torch.testing.assert_close(parts[name], tensor, rtol=1e-3, atol=1e-4)


def test_a_model_comes_back_from_its_state_and_takes_new_classes(task, configured):
    learner, _ = trained(task, configured(), 1)
    model = learner.model()
    tensors, values = model.state()
    again = ReGenModel.from_state(tensors, values | {"seen": model.seen, "unseen": model.unseen, "combination": None})
    assert again.captions(task.features) == model.captions(task.features)
    assert torch.equal(torch.cat(again.sides(task.features), dim=1), torch.cat(model.sides(task.features), dim=1))
    renamed = again.with_classes(["snow"], torch.ones(1, 4))
    assert renamed.unseen_scores(task.features).shape == (6, 1)
    assert renamed._kept is again._kept
    with pytest.raises(InputError, match="semantics of new classes"):
        again.with_classes(["snow"], torch.ones(1, 3))


def test_rewards_that_are_not_finite_are_left_out_and_end_a_training(task, configured, monkeypatch):
    learner = method.learner(Member(task, configured(), 0), ALONE)
    learner._rewards()
    monkeypatch.setattr(learner.grammar, "scores", lambda texts: torch.full((len(texts),), math.nan))
    before = {name: t.clone() for name, t in learner.state().items() if name.startswith("weights.")}
    learner.train_epoch()
    with pytest.warns(InputWarning, match="3 steps in a row without a finite reward"):
        assert math.isnan(learner.train_epoch()["loss"])
    assert math.isnan(learner.train_epoch()["loss"])
    for name, tensor in before.items():
        assert torch.equal(learner.state()[name], tensor), name


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"rest_epochs": 1, "corpus": ""}, "rest_epochs=1 needs captions"),
        ({"grammar": "discriminator", "corpus": ""}, "grammar=discriminator needs captions"),
        ({"rest_epochs": 2}, "leaves none of the 2 epochs"),
        ({"dense_grammar": True, "lambda_grammar": 0.0}, "dense_grammar=true"),
        ({"captioner": "/nowhere"}, "/nowhere"),
        ({"language_model": "/nowhere", "rest_epochs": 1}, "/nowhere"),  # before REST's stage, not after it
    ],
)
def test_what_cannot_be_trained_is_refused(task, configured, fields, message):
    config = configured().model_copy(update=fields)
    with pytest.raises(InputError, match=message):
        method.learner(Member(task, config, 0), ALONE)
