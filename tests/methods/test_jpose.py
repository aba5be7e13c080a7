import pytest
import torch
from linear_features import SEEN, make_task
from torch.nn.functional import normalize
from training_loop import differentiated

from methods import jpose
from methods.jpose import JPoSEConfig
from platform.errors import InputError
from platform.method import Member
from platform.training.evaluation import zero_shot_metrics
from platform.workers import Workers
from platform.zeroshot.task import Task

SMALL = {"width": 6, "joint": 5, "hidden": 7, "batch_size": 16, "epochs": 3, "learning_rate": 1e-2}


def expected_losses(weights, config, x, labels, text):
    """The equations, sample by sample."""

    def layer(name, inputs):
        return inputs @ weights[name] + weights[f"{name}_bias"]

    visual, textual, words = {}, {}, {}
    for part, own in zip(("verb", "noun"), text.chunk(2, dim=1), strict=True):
        visual[part] = normalize(layer(f"{part}_x", normalize(x)).tanh())
        hidden = layer(f"{part}_y_1", normalize(own)).tanh()
        textual[part] = normalize(layer(f"{part}_y", hidden).relu())
        words[part] = [[bool((a == b).all()) for b in own] for a in own]
    visual["joint"] = normalize(layer("joint_x", torch.cat([visual["verb"], visual["noun"]], dim=1)).tanh())
    textual["joint"] = normalize(layer("joint_y", torch.cat([textual["verb"], textual["noun"]], dim=1)).tanh())
    found = []
    for space in ("verb", "noun", "joint"):
        losses = []
        for v, y in zip(visual[space], labels, strict=True):
            scores = textual[space] @ v
            losses += [(config.margin + scores[c] - scores[y]).relu() for c in range(len(text)) if c != y]
        found.append(sum(losses) / len(x))
    within = 0.0
    for part in ("verb", "noun"):
        near = visual[part] @ visual[part].detach().T
        for i, row in enumerate(near):
            same = torch.tensor([words[part][labels[i]][label] for label in labels])
            within += (config.margin + row[~same].max() - row[same].min()).relu() / len(x)
    return torch.stack([*found, within])


def test_losses_and_gradients_are_those_of_the_equations():
    tasks = [make_task(seed)[0] for seed in (0, 1)]
    configs = [
        JPoSEConfig(**SMALL, negatives="moved", joint_decay=0.0),
        JPoSEConfig(**{**SMALL, "width": 4}, negatives="moved", within=0.5, joint_weight=2.0, joint_decay=0.0),
    ]
    members = [Member(task, config, seed) for seed, (task, config) in enumerate(zip(tasks, configs, strict=True))]
    together = jpose.method.population(members, Workers(torch.device("cpu")))
    labels = torch.stack([task.labels[:16] for task in tasks])
    x = torch.stack([task.features[:16] for task in tasks])
    terms = differentiated(together, torch.stack([first + torch.arange(16) for first in together.data.first_rows]))
    for m, (task, config) in enumerate(zip(tasks, configs, strict=True)):
        weights = {n: t.requires_grad_() for n, t in together.layers.own(m, together.layers.parameters).items()}
        expected = expected_losses(weights, config, x[m], labels[m].tolist(), task.semantics[:SEEN])
        torch.testing.assert_close(terms[:, m], expected, rtol=1e-4, atol=1e-5)
        total = expected @ torch.tensor([1.0, 1.0, config.joint_weight, config.within])
        expected_gradients = torch.autograd.grad(total, list(weights.values()))
        gradients = together.layers.own(m, together.layers.gradients)
        for name, right in zip(weights, expected_gradients, strict=True):
            torch.testing.assert_close(gradients[name], right, rtol=1e-3, atol=1e-5)


def test_fixed_negatives_move_only_the_own_class_text():
    task, *_ = make_task()
    config = JPoSEConfig(**SMALL, negatives="fixed", within=0.0, joint_decay=0.0, text_layers=1)
    alone = jpose.method.population([Member(task, config, 0)], Workers(torch.device("cpu")))
    rows = torch.nonzero(task.labels == 0)[:8, 0]
    differentiated(alone, rows[None])
    weights = {n: t[0].requires_grad_() for n, t in alone.layers.parameters.items()}

    def layer(name, inputs):
        return inputs @ weights[name] + weights[f"{name}_bias"]

    own = jpose._textual(layer, task.semantics[:1], 1)
    visual = {space: places.detach() for space, places in jpose._visual(layer, task.features[rows]).items()}
    everyone = {space: p.detach() for space, p in jpose._textual(layer, task.semantics[:SEEN], 1).items()}
    total = 0.0
    for space in ("verb", "noun", "joint"):
        scores = visual[space] @ everyone[space].T
        beyond = (config.margin + scores - scores[:, :1] > 0).sum(dim=1)  # the own class's is the released code's pull
        total = total - (beyond * (visual[space] @ own[space][0])).mean()
    expected_gradients = torch.autograd.grad(total, [weights["verb_y"], weights["joint_y"]])
    torch.testing.assert_close(alone.layers.gradients["verb_y"][0], expected_gradients[0], rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(alone.layers.gradients["joint_y"][0], expected_gradients[1], rtol=1e-3, atol=1e-5)


def test_it_recognises_unseen_classes_by_their_words(problem, fit):
    config = JPoSEConfig(**{**SMALL, "width": 16, "joint": 16}, text_layers=1)
    group = fit(jpose.method, [Member(problem.task, config, 0)], 30)
    assert group.history[-1][0]["joint"] < group.history[0][0]["joint"] / 2
    assert zero_shot_metrics(group.kept["last"][0], problem.test)["zsl"] > 0.6  # chance is 1/3


def test_text_that_is_no_verb_and_noun_is_refused():
    task, *_ = make_task()
    odd = Task(task.seen, task.unseen, task.features, task.labels, task.semantics[:, :-1])
    with pytest.raises(InputError, match="7 wide is no verb and noun; --text verb"):
        jpose.method.population([Member(odd, JPoSEConfig(**SMALL), 0)], Workers(torch.device("cpu")))
