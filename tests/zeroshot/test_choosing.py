import pytest
import torch

from platform.population.draws import generator
from platform.zeroshot.choosing import latest_of_equals

CHANCE = 0.2


def curve(means, noise=0.0, units=30, seed=0):
    """(epochs, units) accuracies with these means: units differ by much, and by `noise` from epoch to epoch."""
    draw = generator(seed, "curve")
    level = 0.3 * torch.randn(1, units, generator=draw, dtype=torch.float64)
    jitter = noise * torch.randn(len(means), units, generator=draw, dtype=torch.float64)
    return torch.tensor(means, dtype=torch.float64)[:, None] + (level - level.mean()) + jitter - jitter.mean(1, True)


def test_an_epoch_that_is_plainly_better_than_all_later_ones_is_chosen():
    choice = latest_of_equals(curve([0.3, 0.7, 0.5, 0.4], noise=0.05), CHANCE)
    assert (choice.place, choice.best, choice.above_chance) == (1, 1, True)


def test_of_epochs_that_differ_by_noise_the_latest_is_chosen():
    choice = latest_of_equals(curve([0.3, 0.6, 0.59, 0.595], noise=0.2), CHANCE)
    assert (choice.place, choice.best) == (3, 1)


def test_units_that_differ_by_much_hide_no_difference_between_epochs():
    # their spread is 0.3, a standard error of 0.055 of each mean, and yet 0.03 is told apart unit by unit
    assert latest_of_equals(curve([0.3, 0.6, 0.57], noise=0.02), CHANCE).place == 1


def test_where_nothing_is_above_chance_the_last_epoch_is_chosen():
    choice = latest_of_equals(curve([0.21, 0.24, 0.18, 0.2]), CHANCE)
    assert (choice.place, choice.best, choice.above_chance) == (3, 1, False)


def test_a_single_unit_has_no_error_to_judge_by():
    choice = latest_of_equals(torch.tensor([[0.4], [0.6], [0.59]], dtype=torch.float64), CHANCE)
    assert (choice.place, choice.above_chance) == (1, True)
    assert latest_of_equals(torch.tensor([[0.1], [0.2], [0.05]], dtype=torch.float64), CHANCE).place == 2


def test_rounding_does_not_decide_where_a_difference_is_its_own_standard_error():
    accuracies = torch.tensor([[0.9, 0.7], [0.8, 0.7]], dtype=torch.float64)  # the second is worse by 0.05 ± 0.05
    for nudge in (-1e-9, 0.0, 1e-9):
        assert latest_of_equals(accuracies + torch.tensor([[nudge], [0.0]]), CHANCE).place == 1


def test_epochs_before_the_first_count_only_while_there_is_no_other():
    accuracies = curve([0.9, 0.8, 0.4, 0.5])
    assert latest_of_equals(accuracies, CHANCE, first=2).place == 3
    assert latest_of_equals(accuracies[:2], CHANCE, first=2).place == 0


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("level", [0.0, 0.2])
def test_what_is_chosen_in_the_end_was_chosen_at_its_own_epoch(seed, level):
    means = (CHANCE + level + 0.1 * torch.rand(12, generator=generator(seed, "means"))).tolist()
    accuracies = curve(means, noise=0.1, units=8, seed=seed)
    place = latest_of_equals(accuracies, CHANCE).place
    assert latest_of_equals(accuracies[: place + 1], CHANCE).place == place
