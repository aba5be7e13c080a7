import copy

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env

import methods.environments  # noqa: F401 (registers the environment)
from methods.claster.clustering import distances, reinforcement, represented
from methods.environments.centroids import CentroidsEnv, CentroidsVectorEnv, Clustering
from methods.environments.returns import returns_of
from platform.population.draws import generator

ID = "unseen/Centroids-v0"


@pytest.fixture(scope="module")
def clustering():
    draw = generator(0, "clustering")
    points, readout = torch.randn(200, 6, generator=draw), torch.randn(6, 4, generator=draw)
    return Clustering(points, (points @ readout).argmax(dim=1), points[:3].clone(), lambda o: (o @ readout).softmax(-1))


@pytest.mark.filterwarnings("ignore:.*Box observation space m.*infinity")
@pytest.mark.parametrize("continuous", [False, True])
def test_it_passes_gymnasiums_checker(clustering, continuous):
    check_env(gymnasium.make(ID, clustering=clustering, continuous=continuous, horizon=5).unwrapped)


def test_an_observation_is_a_point_its_distances_and_the_belief(clustering):
    env = CentroidsEnv(clustering)
    observation, _ = env.reset(seed=3)
    row = int(env.episodes.rows[0, 0])
    point = clustering.points[row]
    d = distances(point[None], clustering.centroids)
    belief = clustering.classify(represented(point[None], clustering.centroids, d))[0]
    scale_of_points, scale_of_distances = clustering.scales()
    expected = torch.cat([point / scale_of_points, d[0] / scale_of_distances, belief])
    np.testing.assert_allclose(observation, expected.numpy(), rtol=1e-5, atol=1e-6)


def test_an_action_moves_the_chosen_centroid_and_is_paid_for_the_new_decision(clustering):
    env = CentroidsEnv(clustering, alpha=0.5)
    env.reset(seed=3)
    row = int(env.episodes.rows[0, 0])
    point, label = clustering.points[row : row + 1], clustering.labels[row]
    d = distances(point, clustering.centroids)
    belief = clustering.classify(represented(point, clustering.centroids, d))[0]
    right = torch.tensor([1.0 if belief.argmax() == label else -1.0])
    moved = reinforcement(point, clustering.centroids, torch.tensor([2]), d, right, belief[label][None])
    expected = clustering.centroids + 0.5 * moved
    _, reward, *_ = env.step(2)
    torch.testing.assert_close(env.episodes.centroids[0], expected)
    after = clustering.classify(represented(point, expected, distances(point, expected)))[0]
    assert reward == (1.0 if after.argmax() == label else -1.0)


def test_the_continuous_action_chooses_by_preference_and_steps_by_itself(clustering):
    env = CentroidsEnv(clustering, continuous=True, alpha=0.5)
    env.reset(seed=3)
    point = clustering.points[int(env.episodes.rows[0, 0])]
    env.step(np.array([0.1, 0.9, -0.3, -1.0], np.float32))
    expected = clustering.centroids.clone()
    expected[1] -= 0.5 * (point - expected[1])
    torch.testing.assert_close(env.episodes.centroids[0], expected)


@pytest.mark.parametrize("continuous", [False, True])
def test_the_vectorised_environment_is_several_single_ones(clustering, continuous):
    several = CentroidsVectorEnv(clustering, 4, horizon=6, continuous=continuous)
    observations, _ = several.reset(seed=1)
    several.action_space.seed(0)
    singles = [CentroidsEnv(clustering, horizon=6, continuous=continuous) for _ in range(4)]
    for place, env in enumerate(singles):
        env.reset(seed=0)
        env.episodes.rows[0] = several.episodes.rows[place]
        np.testing.assert_allclose(env.episodes.observe()[0], observations[place], rtol=1e-5, atol=1e-6)
    for _ in range(6):
        actions = several.action_space.sample()
        observations, rewards, _, ended, _ = several.step(actions)
        for place, env in enumerate(singles):
            observation, reward, _, over, _ = env.step(actions[place])
            np.testing.assert_allclose(observation, observations[place], rtol=1e-4, atol=1e-5)
            assert (reward, over) == (rewards[place], ended[place])
    assert ended.all()


def test_an_ended_episode_begins_anew_with_the_next_step(clustering):
    env = gymnasium.make_vec(ID, num_envs=2, vectorization_mode="vector_entry_point", clustering=clustering, horizon=3)
    env.reset(seed=0)
    for _ in range(3):
        *_, ended, _ = env.step(np.array([0, 1]))
    assert ended.all()
    assert not torch.equal(env.unwrapped.episodes.centroids[0], clustering.centroids)
    _, rewards, _, ended, _ = env.step(np.array([0, 1]))
    assert (rewards == 0).all()
    assert not ended.any()
    assert torch.equal(env.unwrapped.episodes.centroids[0], clustering.centroids)


def test_a_seed_names_the_episodes(clustering):
    one, two = (returns_of(CentroidsVectorEnv(clustering, 8, horizon=5), None, seed=4) for _ in range(2))
    assert one[0].tolist() == two[0].tolist()
    assert one[1].tolist() == [5] * 8
    assert copy.deepcopy(clustering) is clustering
