import random
from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest
import ray
import torch
from ray.util.placement_group import placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy
from torch import Tensor, nn

from methods.environments.localities import Localities, LocalitiesVectorEnv
from methods.environments.locality_ppo import PLACES, LocalityPPOOptions, _configured, improved
from methods.environments.running import as_ours, as_rllib, connected
from methods.erpcnet.policy import LocalityPolicy, first_weights
from platform.population.draws import generator

pytestmark = pytest.mark.slow

WIDTH, CELLS, CLASSES, STEPS = 12, 9, 5, 4
OPTIONS = LocalityPPOOptions(40, STEPS, sigma=9.0, learning_rate=3e-3)


def by_sum(classes: Tensor) -> nn.Module:
    """Probabilities by the sum of what was chosen; of PyTorch's own modules, which every process finds."""
    linear = nn.Linear((STEPS + 1) * WIDTH, CLASSES, bias=False)
    linear.weight.data = 3 * classes.T.repeat(1, STEPS + 1)
    return nn.Sequential(linear, nn.Softmax(dim=-1)).requires_grad_(False)


@pytest.fixture(scope="module")
def localities():
    """One cell of each image tells its class, and the global embedding tells which cell that is."""
    draw, images = generator(0, "localities"), 300
    classes = nn.functional.normalize(torch.randn(WIDTH, CLASSES, generator=draw), dim=0)
    labels, where = (torch.randint(count, (images,), generator=draw) for count in (CLASSES, CELLS))
    embeddings = 0.1 * torch.randn(images, CELLS, WIDTH, generator=draw)
    embeddings[torch.arange(images), where] += classes.T[labels]
    whole, joint = 0.5 * torch.randn(CELLS, WIDTH, generator=draw)[where], by_sum(classes)
    alone = joint(nn.functional.pad(whole, (0, STEPS * WIDTH))).gather(1, labels[:, None])[:, 0]
    return Localities(whole, embeddings, torch.ones(images, CELLS), labels, alone, joint)


@pytest.fixture(scope="module")
def weights():
    return first_weights(WIDTH, CELLS, generator(0, "policy"), encoder=64, hidden=32)


def test_ppo_learns_to_choose_clearly_better_than_at_random(localities, weights):
    learned, returns = improved(weights, localities, OPTIONS, seed=1)
    assert returns["policy_return"] > returns["random_return"] + 0.4
    assert returns["policy_steps"] == returns["random_steps"] == STEPS
    env = LocalitiesVectorEnv(localities, 300, sigma=9.0, steps=STEPS)
    first = torch.from_numpy(env.reset(seed=0)[0])
    policy = LocalityPolicy(learned)
    logits, _ = policy.logits(first[:, :WIDTH], first[:, WIDTH:] > 0.5, policy.start(300, "cpu"))
    cell = env.episodes.localities.embeddings[env.episodes.rows].norm(dim=2).argmax(dim=1)
    assert (logits.argmax(dim=1) == cell).float().mean() > 2 / CELLS


@pytest.mark.parametrize("sigmoid_head", [False, True])
def test_a_call_gives_the_same_every_time_and_goes_on_from_its_weights(localities, weights, sigmoid_head):
    options = replace(OPTIONS, iterations=1, sigma=1.2, sigmoid_head=sigmoid_head)
    torch.manual_seed(5)
    random.seed(5)
    np.random.seed(5)
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    learned, returns = improved(weights, localities, options, seed=1)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before[1:]
    torch.manual_seed(6)
    again, same = improved(weights, localities, options, seed=1)
    assert same == returns
    assert same["policy_steps"] < STEPS
    assert all(torch.equal(learned[name], again[name]) for name in weights)
    assert all(learned[name].shape == w.shape and not torch.equal(learned[name], w) for name, w in weights.items())
    untouched, _ = improved(learned, localities, replace(options, learning_rate=0.0), seed=2)
    assert all(torch.equal(untouched[name], learned[name]) for name in weights)


@pytest.mark.parametrize("sigmoid_head", [False, True])
def test_the_plain_policy_is_rllibs_module(weights, sigmoid_head):
    from ray.rllib.core.columns import Columns

    from methods.environments.locality_module import LocalityModule

    module = LocalityModule(
        observation_space=gym.spaces.Box(-np.inf, np.inf, (WIDTH + CELLS,), np.float32),
        action_space=gym.spaces.Discrete(CELLS),
        model_config={"encoder": 64, "hidden": 32, "sigmoid_head": sigmoid_head, "max_seq_len": STEPS + 1},
    )
    module.load_state_dict(as_rllib(weights, PLACES))
    assert all(torch.equal(w, weights[name]) for name, w in as_ours(module.state_dict(), PLACES).items())
    draw = generator(0, "seen")
    seen = torch.randn(7, STEPS, WIDTH, generator=draw)
    mask = torch.rand(7, STEPS, CELLS, generator=draw) > 0.3
    start = {"hidden": torch.from_numpy(module.get_initial_state()["hidden"]).repeat(7, 1)}
    batch = {Columns.OBS: torch.cat([seen, mask], dim=-1), Columns.STATE_IN: start}
    with torch.no_grad():
        found = module.forward_inference(batch)
        values = module.compute_values(batch)
    policy = LocalityPolicy(weights, sigmoid_head)
    hidden = policy.start(7, "cpu")
    for step in range(STEPS):
        logits, hidden = policy.logits(seen[:, step], mask[:, step], hidden)
        torch.testing.assert_close(logits, found[Columns.ACTION_DIST_INPUTS][:, step])
        torch.testing.assert_close(hidden @ weights["value"] + weights["value_bias"], values[:, step, None])
    torch.testing.assert_close(hidden, found[Columns.STATE_OUT]["hidden"])


def test_ppo_is_the_papers(localities, weights):
    own = _configured(weights, localities, LocalityPPOOptions(1, STEPS, sigma=0.5), seed=0)  # Section Experiments
    assert (own.lr, own.gamma, own.clip_param) == (3e-4, 0.99, 0.2)
    assert (own.vf_loss_coeff, own.entropy_coeff, own.lambda_) == (0.5, 0.01, 1.0)
    assert not own.use_kl_loss


def test_other_processes_may_play(localities, weights):
    options = replace(OPTIONS, iterations=2, envs=8, episodes=32, env_runners=2)
    learned, returns = improved(weights, localities, options, seed=1)
    assert all(learned[name].isfinite().all() and not torch.equal(learned[name], w) for name, w in weights.items())
    assert returns["policy_steps"] == STEPS


def test_other_processes_may_play_for_a_worker_of_ray_train(localities, weights):
    """Such a worker stands in a placement group, which is not for RLlib to use."""
    connected()
    group = placement_group([{"CPU": 1}])
    options = replace(OPTIONS, iterations=1, envs=8, episodes=16, env_runners=1)
    worker = ray.remote(improved).options(scheduling_strategy=PlacementGroupSchedulingStrategy(group))
    try:
        learned, _ = ray.get(worker.remote(weights, localities, options, seed=1))
    finally:
        remove_placement_group(group)
    assert all(learned[name].isfinite().all() and not torch.equal(learned[name], w) for name, w in weights.items())
