import math
import sys
import weakref
from dataclasses import replace

import pytest
import torch
from made_regen import SIDE, clips, encoded

from methods.regen import ReGenModel, captioners, method
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
        {"lora_rank": 2, "lora_dropout": 0.2, "rest_epochs": 1, "checkpointing": True, "frozen": "vision"},
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


def test_a_model_of_adapters_captions_as_its_learner_and_needs_no_peft(task, configured, monkeypatch):
    learner, _ = trained(task, configured(lora_rank=2, learning_rate=0.1, decoding="greedy"))
    assert all("lora_" in name for name in learner.state() if name.startswith("weights."))
    visual = learner.captioner.visual(task.features.decoded())
    told = [own[0] for own in learner.captioner.generate(visual, captioners.Decoding()).texts]
    tensors, values = learner.model().state()
    monkeypatch.setitem(sys.modules, "peft", None)
    again = ReGenModel.from_state(tensors, values | {"seen": SEEN, "unseen": UNSEEN, "combination": None})
    assert again.captions(task.features) == told


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


def few(task):
    """The same clips as samples of the unseen classes."""
    return replace(task, seen=UNSEEN, unseen=(), semantics=task.semantics[len(SEEN) :])


def test_a_trained_model_goes_on_from_a_few_clips_of_its_unseen_classes(task, configured):
    model = trained(task, configured(rest_epochs=1))[0].model()
    before = {name: tensor.clone() for name, tensor in model.weights.items()}
    adapted = method.adapted(
        model, few(task), {"objective": "class_names", "learning_rate": 1e-2, "epochs": 30}, 0, ALONE
    )
    assert (adapted.seen, adapted.unseen) == (SEEN, UNSEEN)
    assert adapted.config == model.config
    assert any(not torch.equal(adapted.weights[name], tensor) for name, tensor in before.items())
    assert all(torch.equal(model.weights[name], tensor) for name, tensor in before.items())  # the model itself stays
    assert all(caption.endswith("in snow") for caption in adapted.captions(task.features))  # as both names end
    assert not any(caption.endswith("in snow") for caption in model.captions(task.features))
    again = method.adapted(model, few(task), {"epochs": 1}, 0, ALONE)
    same = method.adapted(model, few(task), {"epochs": 1}, 0, ALONE)
    assert all(torch.equal(again.weights[name], same.weights[name]) for name in before)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"objective": "none"}, "objective=none learns nothing from a few samples"),
        ({"captioner": "elsewhere"}, "captioner=elsewhere: the model's is "),
        (
            {"learning_rate": 1e30, "gradient_cut": 0.0, "objective": "class_names"},
            "are not finite; give a smaller one",
        ),
        ({"beams": 0}, "beams"),
    ],
)
def test_what_cannot_go_on_is_one_line(task, configured, values, message):
    model = trained(task, configured(), epochs=0)[0].model()
    with pytest.raises(InputError, match=message):
        method.adapted(model, few(task), values, 0, ALONE)


def test_a_template_holds_the_name_wherever_it_says_so(configured):
    assert configured(template="{}: a {name} at 100 %}").read(["shake_hands"]) == ["shake hands: a {name} at 100 %}"]


@pytest.mark.parametrize("template", ["an action", "{name}", "", "{0}"])
def test_a_template_without_a_place_for_the_name_is_refused(configured, template):
    with pytest.raises(InputError, match=r"template=.*being the name"):
        configured(template=template)


def test_captions_longer_than_the_captioner_has_positions_are_refused(task, configured):
    positions = method.learner(Member(task, configured(), 0), ALONE).captioner.network.positions
    assert method.learner(Member(task, configured(max_tokens=positions), 0), ALONE).captioner.max_tokens == positions
    with pytest.raises(InputError, match=rf"max_tokens={positions + 1}: captioner=.* has {positions} positions"):
        method.learner(Member(task, configured(max_tokens=positions + 1), 0), ALONE)


@pytest.mark.parametrize("name", ["___", ""])
@pytest.mark.parametrize("place", ["seen", "unseen"])
def test_a_class_name_of_which_nothing_is_left_is_refused(task, configured, name, place):
    odd = replace(task, **{place: (getattr(task, place)[0], name)})
    with pytest.raises(InputError, match=f"class name `{name}`: the tokenizer of clip=.* leaves nothing of it"):
        method.learner(Member(odd, configured(template="a video of {}"), 0), ALONE)


def test_a_class_name_that_only_the_captioner_cannot_say_is_refused_where_it_would(task, configured, monkeypatch):
    learner = method.learner(Member(task, configured(objective="class_names"), 0), ALONE)
    encode = learner.captioner.tokenizer.encode
    monkeypatch.setattr(
        learner.captioner.tokenizer, "encode", lambda text, **own: [] if "kicks" in text else encode(text, **own)
    )
    with pytest.raises(InputError, match="class name `man kicks ball`: the tokenizer of captioner="):
        learner._check_names()


ERRORS = {
    "a GPU's": lambda: torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total"),
    "this machine's": lambda: torch.empty(1 << 60, dtype=torch.uint8),
}


@pytest.mark.parametrize("where", ERRORS)
@pytest.mark.parametrize("objective", ["rewards", "class_names"])
def test_out_of_memory_is_one_line_that_says_what_to_lower(task, configured, monkeypatch, where, objective):
    learner = method.learner(Member(task, configured(objective=objective, batch_size=2), 0), ALONE)

    held = []

    def visual(frames):
        large = torch.ones(3)
        held.append(weakref.ref(large))
        raise ERRORS[where]()  # the machine's is raised as it is made

    monkeypatch.setattr(learner.captioner, "visual", visual)
    with pytest.raises(InputError, match="out of memory") as caught:
        learner.train_epoch()
    said = str(caught.value)
    assert said.isprintable()
    for what in ("batch_size=2", "beams=2", "2 frames of a clip", "accumulation=1", "checkpointing=true"):
        assert what in said
    assert held[0]() is None  # what the step held is free again


def test_another_error_is_not_taken_for_want_of_memory(task, configured, monkeypatch):
    learner = method.learner(Member(task, configured(), 0), ALONE)
    monkeypatch.setattr(learner.captioner, "visual", lambda frames: torch.ones(2) @ torch.ones(3))
    with pytest.raises(RuntimeError, match="size"):
        learner.train_epoch()


def test_models_of_a_process_read_the_captioners_files_once_and_keep_their_own_weights(task, configured, monkeypatch):
    learner = method.learner(Member(task, configured(learning_rate=0.3), 0), ALONE)
    first = learner.model()
    told = first.captions(task.features)
    monkeypatch.setattr(captioners, "load_captioner", None)  # not asked for again
    learner.train_epoch()
    second = learner.model()
    other = second.captions(task.features)
    assert other != told
    first._kept.clear()
    assert first.captions(task.features) == told
    second._kept.clear()
    assert second.captions(task.features) == other
