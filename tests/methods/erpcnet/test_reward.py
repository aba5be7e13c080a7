import math

import pytest
import torch

from methods.erpcnet.localities import all_crops
from methods.erpcnet.reward import entropy, entropy_ratio, entropy_ratios, reward
from platform.population.draws import generator


@pytest.fixture(scope="module")
def maps():
    return torch.randn(3, 4, 7, 6, generator=generator(0, "maps")).relu()


def test_entropy_counts_the_channels_at_work_at_each_place():
    even = torch.ones(1, 8, 2, 2)
    assert entropy(even).item() == pytest.approx(math.log(8))
    assert entropy(5 * even).item() == pytest.approx(math.log(8))
    one = torch.zeros(1, 8, 2, 2)
    one[:, 3] = 2.0
    assert entropy(torch.cat([one, torch.zeros_like(one)])).tolist() == [0.0, 0.0]
    half = even.clone()
    half[..., 1] = 0.0
    assert entropy(half).item() == pytest.approx(math.log(8) / 2)


def test_entropy_ratios_of_all_cells_are_the_ratios_of_their_crops(maps):
    every = all_crops(maps, 3, 2, 1)
    each = torch.stack([entropy_ratio(every[:, cell], maps) for cell in range(every.shape[1])], dim=1)
    torch.testing.assert_close(entropy_ratios(maps, 3, 2, 1), each)
    empty = torch.zeros(2, 4, 7, 6)
    assert entropy_ratios(empty, 3, 2, 1).eq(1).all()
    assert entropy_ratio(empty[:, :, :3, :3], empty).tolist() == [1, 1]


def test_a_rich_object_before_a_plain_background_has_a_ratio_as_the_paper_reports():
    draw = generator(0, "object")
    plain = torch.randn(4, 256, 14, 14, generator=draw)
    plain[:, :, 3:8, 3:8] += 1.0  # cell 5 of the 4 × 4
    ratios = entropy_ratios(plain.relu(), 5, 3, 0)
    assert ratios.argmax(dim=1).tolist() == [5] * 4
    assert 1.05 < ratios[:, 5].mean() < 1.15
    assert ratios.mean() == pytest.approx(1, abs=0.05)


def test_the_reward_is_the_sum_of_both_probabilities_by_the_ratio():
    joint = torch.tensor([[0.7, 0.3], [0.2, 0.8]])
    found = reward(joint, torch.tensor([0.5, 0.1]), torch.tensor([0, 1]), torch.tensor([1.0, 1.1]))
    torch.testing.assert_close(found, torch.tensor([1.2, 0.99]))
