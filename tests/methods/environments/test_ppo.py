import os
import random

import numpy as np
import pytest
import torch

from methods.environments.centroids import Clustering
from methods.environments.ppo import PPOOptions, improved
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
    draw = generator(10, "clustering")  # where one centroid is worth moving always, more than the nearest
    points, readout = torch.randn(200, 6, generator=draw), torch.randn(6, 5, generator=draw)
    labels = (points @ readout).argmax(dim=1)
    clustering = Clustering(points, labels, points[:3].clone(), lambda o: (o @ readout).softmax(-1))
    weights, options = first_weights(6 + 3 + 5, 3), PPOOptions(15, 32, 3e-3, 32)
    learned, returns = improved(weights, clustering, 0.1, options, seed=1)
    assert returns["policy_return"] > returns["random_return"] + 0.1
    assert returns["policy_return"] > returns["nearest_return"] + 0.05
    again, same = improved(weights, clustering, 0.1, options, seed=1)
    assert same == returns
    assert all(torch.equal(learned[name], again[name]) for name in learned)


def test_the_process_is_left_as_it_was(tmp_path, monkeypatch):
    monkeypatch.setattr("ray.tune.trainable.trainable.DEFAULT_STORAGE_PATH", str(tmp_path))
    draw = generator(0, "clustering")
    points, readout = torch.randn(20, 4, generator=draw), torch.randn(4, 2, generator=draw)
    clustering = Clustering(points, (points @ readout).argmax(dim=1), points[:2], lambda o: (o @ readout).softmax(-1))
    random.seed(5)
    np.random.seed(5)
    torch.manual_seed(5)
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    switches = torch.backends.cudnn.deterministic, os.environ.get("CUBLAS_WORKSPACE_CONFIG")
    improved(first_weights(4 + 2 + 2, 2, 8), clustering, 0.1, PPOOptions(1, 4, 1e-3, 8), seed=1)
    assert before == (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())
    assert switches == (torch.backends.cudnn.deterministic, os.environ.get("CUBLAS_WORKSPACE_CONFIG"))
    assert not list(tmp_path.iterdir())
