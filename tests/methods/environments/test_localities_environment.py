import copy
import functools
import pickle

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env

import methods.environments  # noqa: F401 (registers the environment)
from methods.environments.localities import Localities, LocalitiesEnv, LocalitiesVectorEnv
from methods.environments.returns import returns_of
from platform.population.draws import generator

ID = "unseen/Localities-v0"
WIDTH, CELLS, CLASSES, STEPS = 4, 5, 3, 3
NEVER = 9.0  # a σ that no reward reaches


def by_sum(readout, chosen):
    return (chosen.unflatten(1, (-1, len(readout))).sum(dim=1) @ readout).softmax(dim=-1)


@pytest.fixture(scope="module")
def localities():
    draw = generator(0, "localities")
    readout = torch.randn(WIDTH, CLASSES, generator=draw)
    labels = torch.randint(CLASSES, (40,), generator=draw)
    whole = torch.randn(40, WIDTH, generator=draw)
    return Localities(
        whole,
        torch.randn(40, CELLS, WIDTH, generator=draw),
        0.9 + 0.2 * torch.rand(40, CELLS, generator=draw),
        labels,
        (whole @ readout).softmax(dim=-1)[torch.arange(40), labels],
        functools.partial(by_sum, readout),
    )


@pytest.mark.filterwarnings("ignore:.*Box observation space m.*infinity")
def test_it_passes_gymnasiums_checker(localities):
    check_env(gymnasium.make(ID, localities=localities, sigma=NEVER, steps=STEPS).unwrapped)


def test_an_episode_shows_the_image_then_the_chosen_localities_and_pays_by_equation_6(localities):
    env = LocalitiesEnv(localities, sigma=NEVER, steps=STEPS)
    observation, _ = env.reset(seed=3)
    row = int(env.episodes.rows[0])
    np.testing.assert_array_equal(observation, [*localities.global_embeddings[row], *np.ones(CELLS)])
    label, joined, free = localities.labels[row], torch.zeros(STEPS + 1, WIDTH), np.ones(CELLS)
    joined[0] = localities.global_embeddings[row]
    for step, cell in enumerate((4, 0, 2), 1):
        joined[step], free[cell] = localities.embeddings[row, cell], 0
        observation, paid, terminated, truncated, _ = env.step(cell)
        np.testing.assert_array_equal(observation, [*joined[step], *free])
        expected = localities.joint(joined.view(1, -1))[0, label] + localities.global_probability[row]
        assert paid == pytest.approx(float(localities.ratios[row, cell] * expected), rel=1e-5)
        assert (terminated, truncated) == (step == STEPS, False)


def test_an_episode_ends_when_the_reward_reaches_sigma(localities):
    env = LocalitiesEnv(localities, sigma=NEVER, steps=STEPS)
    env.reset(seed=3)
    rewards = [env.step(cell)[1] for cell in (1, 3)]
    last = int(rewards[1] > rewards[0])
    env = LocalitiesEnv(localities, sigma=max(rewards) - 1e-6, steps=STEPS)
    env.reset(seed=3)
    ended = [env.step(cell)[2] for cell in (1, 3)[: last + 1]]
    assert ended == [False] * last + [True]


def test_instead_of_a_visited_cell_the_next_free_one_is_chosen(localities):
    env = LocalitiesEnv(localities, sigma=NEVER, steps=STEPS)
    env.reset(seed=0)
    row = int(env.episodes.rows[0])
    for given, taken in ((4, 4), (4, 0), (0, 1)):
        observation, *_ = env.step(given)
        np.testing.assert_array_equal(observation[:WIDTH], localities.embeddings[row, taken])
        assert observation[WIDTH + taken] == 0
    with pytest.raises(ValueError, match="6 steps among 5 cells"):
        LocalitiesEnv(localities, sigma=NEVER, steps=6)


def test_the_vectorised_environment_is_several_single_ones(localities):
    several = LocalitiesVectorEnv(localities, 4, sigma=1.2, steps=STEPS)
    observations, _ = several.reset(seed=1)
    several.action_space.seed(0)
    singles = [LocalitiesEnv(localities, sigma=1.2, steps=STEPS) for _ in range(4)]
    for place, env in enumerate(singles):
        env.reset(seed=0)
        env.episodes.rows[0] = several.episodes.rows[place]
        env.episodes.chosen[0, 0] = localities.global_embeddings[several.episodes.rows[place]]
        np.testing.assert_array_equal(env.episodes.observe()[0], observations[place])
    going = np.ones(4, bool)
    for _ in range(STEPS):
        actions = several.action_space.sample()
        observations, rewards, ended, _, _ = several.step(actions)
        for place in np.flatnonzero(going):
            observation, paid, over, _, _ = singles[place].step(actions[place])
            np.testing.assert_allclose(observation, observations[place])
            assert paid == pytest.approx(rewards[place], rel=1e-5)
            assert over == ended[place]
        going &= ~ended
    assert not going.any()


def test_an_ended_episode_begins_anew_with_the_next_step(localities):
    env = gymnasium.make_vec(
        ID, num_envs=2, vectorization_mode="vector_entry_point", localities=localities, sigma=NEVER, steps=STEPS
    )
    env.reset(seed=0)
    for cell in range(STEPS):
        observations, _, ended, truncated, _ = env.step(np.array([cell, cell + 1]))
        assert ended.tolist() == [cell == STEPS - 1] * 2
        assert not truncated.any()
    assert (observations[:, WIDTH:].sum(axis=1) == CELLS - STEPS).all()
    observations, rewards, ended, _, _ = env.step(np.array([0, 1]))
    assert (rewards == 0).all()
    assert not ended.any()
    rows = env.unwrapped.episodes.rows
    np.testing.assert_array_equal(observations[:, :WIDTH], localities.global_embeddings[rows])
    assert (observations[:, WIDTH:] == 1).all()
    _, rewards, _, _, _ = env.step(np.array([0, 1]))
    assert (rewards > 0).all()


def test_returns_are_of_one_episode_a_place_and_a_seed_names_them(localities):
    one, two = (returns_of(LocalitiesVectorEnv(localities, 16, sigma=0.7, steps=STEPS), None, seed=4) for _ in range(2))
    assert one[0].tolist() == two[0].tolist()
    returns, steps = one
    assert ((steps >= 1) & (steps <= STEPS)).all()
    assert steps.min() < STEPS
    assert (returns[steps == 1] >= 0.7).all()


def test_localities_are_sent_to_other_processes_whole_and_never_copied_in_this_one(localities):
    assert copy.deepcopy(localities) is localities
    sent = pickle.loads(pickle.dumps(localities))
    returns = [
        returns_of(LocalitiesVectorEnv(own, 4, sigma=1.2, steps=STEPS), None, 0)[0] for own in (localities, sent)
    ]
    assert returns[0].tolist() == returns[1].tolist()
