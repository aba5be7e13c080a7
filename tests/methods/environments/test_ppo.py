import pytest
import torch
from test_claster import SMALL, fitted
from test_jpose import make_task

from methods.claster import CLASTERConfig
from methods.environments.centroids import Clustering
from methods.environments.ppo import PPOOptions, improved
from platform.method import Member
from platform.population.draws import generator
from platform.population.layers import uniform

pytestmark = pytest.mark.slow


def first_weights(observation, actions, hidden=32):
    draw, weights = generator(0, "policy"), {}
    for kind, given in (("policy", actions), ("value", 1)):
        for number, (rows, columns) in enumerate(((observation, hidden), (hidden, hidden), (hidden, given)), 1):
            weights[f"{kind}_{number}"] = uniform(rows, rows, columns, draw)
            weights[f"{kind}_{number}_bias"] = uniform(rows, 1, columns, draw)
    return weights


def test_ppo_learns_to_choose_better_than_at_random_and_the_same_way_twice():
    draw = generator(0, "clustering")
    points, readout = torch.randn(200, 6, generator=draw), torch.randn(6, 5, generator=draw)
    labels = (points @ readout).argmax(dim=1)
    clustering = Clustering(points, labels, points[:3].clone(), lambda o: (o @ readout).softmax(-1))
    weights, options = first_weights(6 + 3 + 5, 3), PPOOptions(15, 32, 3e-3, 32)
    learned, returns = improved(weights, clustering, 0.1, options, seed=1)
    assert returns["policy_return"] > returns["random_return"] + 0.05
    again, same = improved(weights, clustering, 0.1, options, seed=1)
    assert same == returns
    assert all(torch.equal(learned[name], again[name]) for name in learned)


def test_claster_trains_with_it_and_goes_on_after_a_kill():
    task, *_ = make_task()
    config = CLASTERConfig(**SMALL, policy="rllib", policy_iterations=1, policy_horizon=8, policy_hidden=8)
    other = config.model_copy(update={"clusters": 2, "policy_hidden": 6})
    members = [Member(task, config, 0), Member(task, other, 1)]
    run, whole = fitted(members, 3)
    assert {"policy_return", "random_return"} <= set(run.losses[-1][0])
    first, _ = fitted(members, 1)
    states = first.states([0, 1])
    _, resumed = fitted([Member(m.task, m.config, m.seed, s) for m, s in zip(members, states, strict=True)], 2)
    for a, b in zip(whole, resumed, strict=True):
        for name in a.weights:
            assert torch.equal(a.weights[name], b.weights[name]), name
