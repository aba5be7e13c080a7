import pytest
import torch

from methods.claster.clustering import (
    centroid_weights,
    distances,
    firing_probability,
    first_centroids,
    netvlad,
    reinforcement,
    represented,
)
from platform.population.draws import generator

POINTS = torch.randn(40, 5, generator=generator(0, "points"))
CENTROIDS = torch.randn(3, 5, generator=generator(0, "centroids"))


def test_the_nearest_centroid_counts_fully_and_the_farthest_not_at_all():
    d = torch.tensor([[1.0, 2.0, 4.0]])
    torch.testing.assert_close(centroid_weights(d), torch.tensor([[1.0, 1 / 3, 0.0]]))


def test_centroids_that_do_not_exist_count_for_nothing():
    exists = torch.tensor([True, True, False])
    d = distances(POINTS, CENTROIDS, exists)
    fewer = distances(POINTS, CENTROIDS[:2])
    torch.testing.assert_close(centroid_weights(d)[:, :2], centroid_weights(fewer))
    torch.testing.assert_close(represented(POINTS, CENTROIDS, d), represented(POINTS, CENTROIDS[:2], fewer))


def test_one_centroid_and_a_point_on_a_centroid_are_finite():
    assert centroid_weights(torch.tensor([[3.0]])).item() == 1.0
    d = distances(CENTROIDS, CENTROIDS)
    assert represented(CENTROIDS, CENTROIDS, d).isfinite().all()
    assert (centroid_weights(d).diagonal() == 1).all()


def test_a_reward_moves_centroids_as_a_loop_over_the_points_does():
    d = distances(POINTS, CENTROIDS)
    chosen, score = d.argmin(dim=1), torch.rand(40, generator=generator(0, "z"))
    reward = torch.where(torch.rand(40, generator=generator(0, "r")) > 0.4, 1.0, -1.0)
    moves = [[] for _ in CENTROIDS]
    for point, j, r, z in zip(POINTS, chosen.tolist(), reward.tolist(), score.tolist(), strict=True):
        distance = torch.linalg.vector_norm(point - CENTROIDS[j])
        p = 2 * (1 - 1 / (1 + torch.exp(-distance)))
        moves[j].append(r * (z - p) * (point - CENTROIDS[j]))
    expected = torch.stack([torch.stack(own).mean(dim=0) for own in moves])
    torch.testing.assert_close(reinforcement(POINTS, CENTROIDS, chosen, d, reward, score), expected)


def test_a_centroid_that_no_point_chose_stays():
    d = distances(POINTS, CENTROIDS)
    ones = torch.ones(40)
    moved = reinforcement(POINTS, CENTROIDS, torch.zeros(40, dtype=torch.long), d, ones, ones)
    assert (moved[1:] == 0).all()
    assert (moved[0] != 0).any()


def test_workers_that_share_a_batch_move_centroids_as_one_does():
    d = distances(POINTS, CENTROIDS)
    chosen, score = d.argmin(dim=1), torch.rand(40, generator=generator(0, "z"))
    reward = torch.where(torch.rand(40, generator=generator(0, "r")) > 0.4, 1.0, -1.0)
    parts = []

    def collect(sums):
        parts.append(sums)
        return sums

    for rows in (slice(0, 5), slice(5, 40)):
        reinforcement(POINTS[rows], CENTROIDS, chosen[rows], d[rows], reward[rows], score[rows], collect)
    averaged = [sum(own) / 2 for own in zip(*parts, strict=True)]
    whole = reinforcement(POINTS, CENTROIDS, chosen, d, reward, score)
    shared = reinforcement(POINTS, CENTROIDS, chosen, d, reward, score, lambda _: averaged)
    torch.testing.assert_close(shared, whole)


def test_a_unit_fires_surely_where_it_stands_and_never_far_away():
    torch.testing.assert_close(firing_probability(torch.tensor([0.0, 50.0])), torch.tensor([1.0, 0.0]))


def test_netvlad_is_residuals_by_their_shares():
    shares = torch.rand(40, 3, generator=generator(0, "shares")).softmax(dim=1)
    found = netvlad(POINTS, CENTROIDS, shares)
    residuals = torch.cat([shares[7, j] * (POINTS[7] - CENTROIDS[j]) for j in range(3)])
    torch.testing.assert_close(found[7], residuals / torch.linalg.vector_norm(residuals))
    assert not torch.allclose(found, netvlad(POINTS, CENTROIDS, shares.flip(1)), atol=1e-2)


@pytest.mark.parametrize("kind", ["kmeans", "random"])
def test_first_centroids_are_means_of_their_points_and_drawn_by_their_seed(kind):
    found = first_centroids(kind, POINTS, 4, seed=1)
    assert torch.equal(found, first_centroids(kind, POINTS, 4, seed=1))
    assert not torch.equal(found, first_centroids(kind, POINTS, 4, seed=2))
    if kind == "kmeans":
        chosen = distances(POINTS, found).argmin(dim=1)
        means = torch.stack([POINTS[chosen == j].mean(dim=0) for j in range(4)])
        torch.testing.assert_close(found, means, rtol=1e-4, atol=1e-4)
    else:
        torch.testing.assert_close(found.mean(dim=0), POINTS.mean(dim=0))  # ten points each
