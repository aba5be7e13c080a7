import pytest
import torch

from platform.population.schedules import epoch_progress, ramp, rising, switched_on, warm_up


def test_progress_is_the_share_done_before_each_step():
    assert epoch_progress(4).tolist() == [0, 0.25, 0.5, 0.75]


@pytest.mark.parametrize(("k", "expected"), [(0, 0), (299, 0), (300, 0), (600, 0.5), (750, 0.75), (900, 1)])
def test_the_paper_ramps_from_a_third_of_the_epoch(k, expected):
    # Eq. 13: 3/2 (k/n − 1/3)
    assert ramp(torch.tensor([k / 900]), 1 / 3).item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("start", [10 / 17, 0.8])
def test_other_starts_end_at_one_too(start):
    values = ramp(torch.tensor([0.0, start, (1 + start) / 2, 1.0]), start)
    torch.testing.assert_close(values, torch.tensor([0.0, 0.0, 0.5, 1.0]))


def test_rising_starts_at_a_step():
    torch.testing.assert_close(rising(8, 4, 0.25), torch.tensor([0, 0, 0, 0, 0, 0.25, 0.5, 0.75]))
    assert not rising(3, 4, 0.25).any()


def test_switched_on_is_on_after_a_step():
    assert switched_on(6, 3).tolist() == [0, 0, 0, 0, 1, 1]
    assert not switched_on(3, 3).any()


@pytest.mark.parametrize(("epoch", "expected"), [(0, 0), (21, 0), (48, 0.5), (75, 1), (99, 1)])
def test_a_warm_up_rises_between_two_epochs(epoch, expected):
    assert warm_up(epoch / 100, 0.21, 0.75) == pytest.approx(expected)


def test_a_warm_up_of_no_length_is_a_switch():
    assert [warm_up(p, 0.5, 0.5) for p in (0.4, 0.5, 0.6)] == [0, 0, 1]
