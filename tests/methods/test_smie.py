import pytest
import torch
from linear_features import SEEN, make_task
from torch.nn.functional import layer_norm, normalize, relu, softplus
from training_loop import differentiated

from methods import smie
from methods.smie import SMIEConfig
from platform.method import Member
from platform.population.draws import generator
from platform.workers import Workers
from platform.zeroshot.task import Task

SMALL = {"hidden_1": 9, "hidden_2": 7, "batch_size": 16, "epochs": 3, "learning_rate": 1e-2, "warm_up": 0}


def masked_task(seed=0):
    task, x, labels = make_task(seed)
    noise = torch.randn(task.features.shape, generator=generator(seed, "masked"))
    values = {name: getattr(task, name) for name in ("seen", "unseen", "features", "labels", "semantics")}
    return Task(**values, masked=task.features + noise), x, labels


def expected_losses(weights, config, x, masked, labels, text):
    """The equations, pair by pair."""

    def score(v, y):
        pair = torch.cat([layer_norm(v, v.shape), normalize(y, dim=0)])
        first = torch.cat([weights["visual"], weights["language"]])
        hidden = relu(relu(pair @ first + weights["visual_bias"][0]) @ weights["hidden"] + weights["hidden_bias"][0])
        return (hidden @ weights["score"] + weights["score_bias"][0])[0]

    def true(features):
        return sum(-softplus(-score(v, text[y])) for v, y in zip(features, labels, strict=True)) / len(labels)

    false = []
    for i, y in enumerate(labels):
        j = (i + 1) % len(labels)
        if config.negatives == "rolled" or labels[j] != y:
            false.append(softplus(score(x[j], text[y])))
    false = sum(false) / len(false)
    information = true(x) - false
    temporal = torch.zeros(())
    if masked is not None:
        temporal = (config.temporal_margin - (information - (true(masked) - false))).relu()
    return torch.stack([-information, temporal])


@pytest.mark.parametrize("masked", [False, True])
def test_losses_and_gradients_are_those_of_the_equations(masked):
    tasks = [masked_task(seed)[0] if masked else make_task(seed)[0] for seed in (0, 1)]
    configs = [
        SMIEConfig(**SMALL),
        SMIEConfig(**{**SMALL, "hidden_1": 5}, negatives="other_class", temporal_weight=2.0, temporal_margin=0.5),
    ]
    members = [Member(task, config, seed) for seed, (task, config) in enumerate(zip(tasks, configs, strict=True))]
    together = smie.method.population(members, Workers(torch.device("cpu")))
    rows = torch.stack([torch.arange(0, 30, 2), 90 + torch.tensor([*range(14), 6])])  # a pair of one class in a row
    labels, x = together.data.labels_of(rows), together.data.features_of(rows)
    terms = differentiated(together, rows)
    for m, (task, config) in enumerate(zip(tasks, configs, strict=True)):
        weights = {n: t.requires_grad_() for n, t in together.layers.own(m, together.layers.parameters).items()}
        own = rows[m] - together.data.first_rows[m]
        partial = task.masked[own] if masked else None
        expected = expected_losses(weights, config, x[m], partial, labels[m].tolist(), task.semantics[:SEEN])
        torch.testing.assert_close(terms[:, m], expected, rtol=1e-4, atol=1e-5)
        total = expected[0] + config.temporal_weight * expected[1]
        expected_gradients = torch.autograd.grad(total, list(weights.values()))
        gradients = together.layers.own(m, together.layers.gradients)
        for name, right in zip(weights, expected_gradients, strict=True):
            torch.testing.assert_close(gradients[name], right, rtol=1e-3, atol=1e-5)
    assert not masked or terms[1].max() > 0


def test_the_temporal_constraint_is_trained_where_masked_features_are_given(models_of):
    task, *_ = masked_task()
    configs = [SMIEConfig(**SMALL), SMIEConfig(**SMALL, temporal_weight=0.0)]
    with_it, without = models_of(smie.method, [Member(task, config, 0) for config in configs], 1)
    assert not torch.equal(with_it.weights["visual"], without.weights["visual"])


def test_the_rate_rises_and_falls_to_zero():
    config = SMIEConfig(learning_rate=1.0, warm_up=4, epochs=14)
    rates = [smie.method.learning_rate(config, epoch) for epoch in range(15)]
    assert rates[:5] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert rates[4:] == sorted(rates[4:], reverse=True)
    assert rates[9] == pytest.approx(0.5)
    assert rates[14] == 0


def test_it_learns_which_class_a_sample_goes_with(fit, monkeypatch):
    task, *_ = make_task(samples=120, noise=0.1)
    fields = {**SMALL, "hidden_1": 32, "hidden_2": 16, "negatives": "other_class", "epochs": 30}
    group = fit(smie.method, [Member(task, SMIEConfig(**fields), 0)])
    model = group.kept["last"][0]
    assert group.history[-1][0]["information"] < group.history[0][0]["information"] / 2
    scores = model.products(task.features, model.kept["seen_classes"])
    assert (scores.argmax(dim=1) == task.labels).double().mean() > 0.9
    monkeypatch.setattr(smie, "_PAIRS", 7)  # a few pairs at a time give the same
    torch.testing.assert_close(model.products(task.features, model.kept["seen_classes"]), scores)
