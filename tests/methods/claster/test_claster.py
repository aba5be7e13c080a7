import math
from dataclasses import replace

import pytest
import torch
from linear_features import SEEN, WIDTH, make_task
from torch.nn.functional import cosine_similarity
from training_loop import OneEpoch, differentiated, fitted_until

from methods import claster
from methods.claster import CLASTERConfig
from methods.claster import population as population_module
from methods.claster.clustering import distances, first_centroids, reinforcement
from methods.claster.network import CLASTERNetwork
from methods.claster.population import thinned
from methods.claster.projection import fitted_projection
from platform.errors import InputError
from platform.method import Member
from platform.population.draws import generator
from platform.population.layers import uniform
from platform.training.evaluation import zero_shot_metrics
from platform.training.trainable import packs_of
from platform.workers import Workers

SMALL = {
    "clusters": 3,
    "hidden": 12,
    "channels": 2,
    "projection_steps": 20,
    "batch_size": 16,
    "iterations": 8,
    "alpha_steps": 10,
    "epochs": 3,
    "learning_rate": 1e-2,
}
KINDS = ["reinforce", "kmeans", "random", "sgd", "netvlad", "none"]
VARIANTS = [
    *({"clustering": kind} for kind in KINDS),
    {"visual_semantic": False},
    *({"aggregation": name} for name in ("average", "dot", "weighted")),
    {"channels": 0},
]


def population(*members):
    return claster.method.population(list(members), Workers(torch.device("cpu")))


def fitted(members, epochs=1):
    run = OneEpoch(epochs)
    fitted_until(claster.method, members, run)
    return run, run.models(range(len(members)))


def expected_terms(weights, config, x, labels, text, projected):
    """The equations, sample by sample, as far as CLASTER's own variant goes."""

    def layer(name, inputs):
        return inputs @ weights[name] + weights[f"{name}_bias"][0]

    def convolved(name, columns):
        kernel = weights[name].view(3, -1, weights[name].shape[1])  # taps, inputs, outputs
        filters = kernel.permute(2, 1, 0)
        return torch.nn.functional.conv1d(columns[None], filters, weights[f"{name}_bias"][0], padding=1)[0]

    classification, semantic = [], []
    for v, y in zip(x, labels, strict=True):
        phi = layer("estimate_2", layer("estimate_1", v).relu())
        psi = torch.cat([v, phi])
        inverse = torch.stack([1 / torch.linalg.vector_norm(psi - c) for c in weights["centroids"]])
        eta = (inverse - inverse.min()) / (inverse.max() - inverse.min())
        omega = psi + sum(e * c for e, c in zip(eta, weights["centroids"], strict=True))
        if config.channels:
            omega = convolved("conv_2", convolved("conv_1", omega[None]).relu())[0]
        scores = text @ layer("classify_2", layer("classify_1", omega).relu())
        classification.append(-scores.log_softmax(dim=0)[y])
        semantic.append((phi - projected[y]).square().mean())
    return torch.stack(classification).mean(), torch.stack(semantic).mean()


@pytest.mark.parametrize("channels", [0, 2])
def test_losses_and_gradients_are_those_of_the_equations(channels):
    tasks = [make_task(seed)[0] for seed in (0, 1)]
    configs = [
        CLASTERConfig(**SMALL | {"channels": channels}, weight_decay=0.0),
        CLASTERConfig(
            **SMALL | {"channels": channels, "clusters": 2, "hidden": 7}, weight_decay=0.0, semantic_weight=3
        ),
    ]
    together = population(*(Member(t, c, seed) for seed, (t, c) in enumerate(zip(tasks, configs, strict=True))))
    labels = torch.stack([task.labels[:16] for task in tasks])
    x = torch.stack([task.features[:16] for task in tasks])
    terms = differentiated(together, torch.stack([first + torch.arange(16) for first in together.data.first_rows]))
    for m, (task, config) in enumerate(zip(tasks, configs, strict=True)):
        weights = {n: t.requires_grad_() for n, t in together.layers.own(m, together.layers.parameters).items()}
        text, own = task.semantics[:SEEN], labels[m].tolist()
        classification, semantic = expected_terms(weights, config, x[m], own, text, together.seen.made["projected"][m])
        torch.testing.assert_close(terms[0, m], classification, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(terms[1, m], semantic, rtol=1e-4, atol=1e-5)
        trained = [name for name in weights if name in together.optimiser.parameters]
        expected_gradients = torch.autograd.grad(
            classification + config.semantic_weight * semantic, [weights[n] for n in trained], allow_unused=True
        )
        gradients = together.layers.own(m, together.layers.gradients)
        for name, right in zip(trained, expected_gradients, strict=True):
            torch.testing.assert_close(gradients[name], right, rtol=1e-3, atol=1e-5, msg=name)


def test_an_iteration_moves_the_centroids_by_equation_5_and_its_step_falls_twice():
    task, *_ = make_task()
    config = CLASTERConfig(**SMALL | {"alpha_steps": 2})
    alone = population(Member(task, config, 0))
    rows, everyone = torch.arange(16)[None], torch.tensor([True])
    moved = []
    for _ in range(5):
        before = alone.layers.parameters["centroids"][0].clone()
        weights = {n: t.clone() for n, t in alone.layers.own(0, alone.layers.parameters).items()}
        network = CLASTERNetwork(config, weights)
        points = network.points(task.features[:16])
        d = distances(points, before)
        probabilities = (network.classified(network.omega(points)[0]) @ task.semantics[:SEEN].T).softmax(dim=1)
        right = torch.where(probabilities.argmax(dim=1) == task.labels[:16], 1.0, -1.0)
        score = probabilities.gather(1, task.labels[:16, None])[:, 0]
        direction = reinforcement(points, before, d.argmin(dim=1), d, right, score)
        alone.step((True, (), False), rows, alone.loss_weights([1])[0], everyone, ~everyone)
        change = alone.layers.parameters["centroids"][0] - before
        moved.append((change / direction)[direction.abs() > 1e-3].median().item())
    assert moved == pytest.approx([0.1, 0.1, 0.01, 0.01, 0.001], rel=1e-2)


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_every_variant_trains(variant):
    task, x, _ = make_task()
    config = CLASTERConfig(**{**SMALL, **variant}, combination="joint")
    run, (model,) = fitted([Member(task, config, 0)], 2)
    assert run.losses[1][0]["classification"] < run.losses[0][0]["classification"]
    assert all(len(latent) == len(x) for latent in model.latents(x).values())
    assert set(model.clusters(x)) == (set() if config.clustering == "none" else {"before", "after"})


@pytest.mark.parametrize("kind", KINDS)
def test_only_what_should_move_its_centroids_does(kind):
    task, *_ = make_task()
    _, (model,) = fitted([Member(task, CLASTERConfig(**SMALL, clustering=kind), 0)], 2)
    if kind == "none":
        assert "centroids" not in model.weights
    else:
        assert torch.equal(model.weights["centroids"], model.weights["start"]) == (kind in ("kmeans", "random"))


def test_it_recognises_unseen_classes_by_their_semantics(make_problem):
    problems = [make_problem(seed=seed) for seed in range(3)]  # in one alone, two of its three classes may look alike
    config = CLASTERConfig(**SMALL | {"hidden": 64, "iterations": 40, "projection_steps": 300})
    _, models = fitted([Member(problem.task, config, seed) for seed, problem in enumerate(problems)], 10)
    for inference in ("predicted", "expected", "estimated", "softmax"):
        unseen = []
        for trained, problem in zip(models, problems, strict=True):
            model = replace(trained, config=config.model_copy(update={"inference": inference}))
            unseen.append(zero_shot_metrics(model, problem.test)["zsl"])
            found = model.seen_scores(problem.task.features).argmax(dim=1)
            assert (found == problem.task.labels).double().mean() > 0.8  # chance is 1/8
        assert sum(unseen) > 3 * 0.45, inference  # chance is 1/3


def test_rectification_adds_the_nearest_seen_classes_by_their_cosines():
    task, *_ = make_task()
    _, (model,) = fitted([Member(task, CLASTERConfig(**SMALL, neighbours=2), 0)])
    network = CLASTERNetwork(model.config, model.weights)
    seen, unseen = network.projected(task.semantics[:SEEN]), network.projected(task.semantics[SEEN:])
    for u, found in zip(unseen, model.rectified(), strict=True):
        near = sorted(((cosine_similarity(u, n, dim=0), n) for n in seen), key=lambda pair: -pair[0])[:2]
        torch.testing.assert_close(found, u + sum(cosine * n for cosine, n in near) / 2)
    plain = replace(model, config=model.config.model_copy(update={"neighbours": 0}))
    torch.testing.assert_close(plain.rectified(), unseen)


def test_the_centroids_start_from_some_of_many_samples(monkeypatch):
    task, *_ = make_task()
    given = []

    def first(kind, points, clusters, seed):
        given.append(points)
        return first_centroids(kind, points, clusters, seed)

    monkeypatch.setattr(population_module, "first_centroids", first)
    monkeypatch.setattr(population_module, "_FIRST_POINTS", 40)
    config = CLASTERConfig(**SMALL)
    for seed in (0, 0, 1):
        population(Member(task, config, seed))
    drawn, again, other = given
    assert drawn.shape == (40, 2 * WIDTH)
    assert torch.equal(drawn, again)
    assert not torch.equal(drawn, other)
    rows = (drawn[:, None, :WIDTH] == task.features).all(dim=2).nonzero()[:, 1]
    assert len(rows.unique()) == 40
    layers = population(Member(task, config, 0)).layers
    projected = CLASTERNetwork(config, layers.own(0, layers.parameters)).projected(task.semantics[:SEEN])
    torch.testing.assert_close(drawn[:, WIDTH:], projected[task.labels[rows]])


def test_a_fit_leaves_its_samples_as_they_are():
    task, *_ = make_task()
    before = task.features.clone()
    fitted([Member(task, CLASTERConfig(**SMALL, visual_semantic=False), 0)], 2)
    assert torch.equal(task.features, before)


def test_the_projection_is_the_least_squares_fit_of_all_samples():
    task, *_ = make_task()
    config = CLASTERConfig(**SMALL | {"projection_steps": 2000, "hidden": 32}, weight_decay=0.0)
    weights = population(Member(task, config, 0)).layers.own(0, population(Member(task, config, 0)).layers.parameters)
    projected = CLASTERNetwork(config, weights).projected(task.semantics[:SEEN])
    means = torch.stack([task.features[task.labels == y].mean(dim=0) for y in range(SEEN)])
    torch.testing.assert_close(projected, means, rtol=0, atol=1e-2)


def projection_left(task, **values):
    """The share of the classes' variance that the fitted projection leaves."""
    config, draw = CLASTERConfig(**SMALL | {"hidden": 128, "learning_rate": 1e-3} | values), generator(0)
    shapes = {"project_1": (task.semantics.shape[1], 128), "project_2": (128, WIDTH)}
    weights = {name: uniform(rows, rows, columns, draw) for name, (rows, columns) in shapes.items()}
    weights |= {f"{name}_bias": uniform(rows, 1, columns, draw) for name, (rows, columns) in shapes.items()}
    own = fitted_projection(Member(task, config, 0), weights, torch.device("cpu"))
    projected = CLASTERNetwork(config, own).projected(task.semantics[:SEEN])
    means = torch.stack([task.features[task.labels == y].mean(dim=0) for y in range(SEEN)])
    return ((projected - means).square().sum() / (means - means.mean(dim=0)).square().sum()).item()


@pytest.mark.parametrize("scale", [1.0, 30.0])
def test_the_projection_takes_as_many_steps_as_its_features_need(scale):
    task, *_ = make_task()
    task = replace(task, features=scale * task.features)
    assert projection_left(task, weight_decay=0.0, projection_steps=3000) < 0.05


def test_the_projection_stops_where_its_loss_stays(monkeypatch):
    task, *_ = make_task()
    counted, adam = [], torch.optim.Adam.step
    monkeypatch.setattr(torch.optim.Adam, "step", lambda *given, **more: counted.append(1) or adam(*given, **more))
    projection_left(replace(task, features=1e-4 * task.features), projection_steps=5000)
    assert 0 < len(counted) < 5000


def test_epochs_tell_accuracy_and_purity_before_and_after():
    task, *_ = make_task()
    run, _ = fitted([Member(task, CLASTERConfig(**SMALL), 0), Member(task, CLASTERConfig(**SMALL), 1)])
    for losses in run.losses[0]:
        assert losses["accuracy"] == pytest.approx((1 + losses["reward"]) / 2)
        for name in ("purity_before", "purity_after", "class_purity_before", "class_purity_after"):
            assert 0 < losses[name] <= 1


def test_a_share_of_the_training_samples_keeps_every_class():
    task, *_ = make_task()
    few = thinned(task, 0.35, seed=0)
    assert torch.bincount(few.labels).tolist() == [5] * SEEN  # of fifteen each
    assert torch.equal(few.features, thinned(task, 0.35, seed=0).features)
    assert few.features.shape[1] == WIDTH


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"clusters": 91}, "clusters=91: more than the 90 training samples"),
        ({"policy": "rllib", "clustering": "kmeans"}, "policy=rllib: clustering=kmeans moves no centroid"),
        ({"inference": "estimated", "visual_semantic": False}, "inference=estimated: visual_semantic=false"),
    ],
)
def test_what_cannot_be_is_refused(values, message):
    task, *_ = make_task()
    with pytest.raises(InputError, match=message):
        fitted([Member(task, CLASTERConfig(**{**SMALL, **values}), 0)])


@pytest.mark.parametrize("channels", [(0, 2), (2, 0)])
def test_configurations_with_and_without_convolutions_do_not_share_a_pack(channels):
    configs = {str(c): CLASTERConfig(**SMALL | {"channels": c}) for c in channels}
    assert len(packs_of(claster.method, configs)) == 2


@pytest.mark.slow
def test_a_member_that_diverges_does_not_take_the_others_along():
    task, *_ = make_task()
    config = CLASTERConfig(**SMALL, policy="rllib", policy_iterations=1, policy_horizon=8, policy_hidden=8)
    bad = config.model_copy(update={"semantic_weight": math.inf})
    run, models = fitted([Member(task, config, 0), Member(task, bad, 0)], 2)
    assert all(math.isfinite(value) for value in run.losses[-1][0].values())
    assert math.isnan(run.losses[-1][1]["policy_return"])
    _, (alone,) = fitted([Member(task, config, 0)], 2)
    torch.testing.assert_close(models[0].weights["centroids"], alone.weights["centroids"])


@pytest.mark.slow
def test_it_trains_with_rllibs_policy_and_goes_on_after_a_kill():
    task, *_ = make_task()
    config = CLASTERConfig(**SMALL, policy="rllib", policy_iterations=1, policy_horizon=8, policy_hidden=8)
    other = config.model_copy(update={"clusters": 2, "policy_hidden": 6})
    members = [Member(task, config, 0), Member(task, other, 1)]
    run, whole = fitted(members, 2)
    assert {"policy_return", "random_return"} <= set(run.losses[-1][0])
    first, _ = fitted(members, 1)
    states = first.states([0, 1])
    _, resumed = fitted([Member(m.task, m.config, m.seed, s) for m, s in zip(members, states, strict=True)])
    for a, b in zip(whole, resumed, strict=True):
        for name in a.weights:
            assert torch.equal(a.weights[name], b.weights[name]), name
