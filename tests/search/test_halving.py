import pytest

from platform.search.halving import Halving


@pytest.mark.parametrize(
    ("reduction", "fewest", "epochs", "rungs"),
    [(3, 2, 10, [3]), (3, 1, 10, [1, 3]), (2, 2, 20, [2, 5, 10]), (3, 2, 81, [3, 9, 27]), (3, 2, 5, []), (4, 1, 1, [])],
)
def test_rungs_divide_the_epochs_again_and_again(reduction, fewest, epochs, rungs):
    assert Halving(reduction=reduction, fewest_epochs=fewest).rungs(epochs) == rungs


@pytest.mark.parametrize(("high", "stopped"), [(True, {0, 1, 3, 4}), (False, {1, 2, 3, 5})])
def test_one_in_three_goes_on(high, stopped):
    reached = {0: 0.1, 1: 0.3, 2: 0.9, 3: 0.4, 4: 0.2, 5: 0.8}
    assert Halving().stopped(reached, high) == stopped


def test_the_first_to_reach_a_rung_goes_on_and_of_equal_ones_the_first_proposed():
    assert Halving().stopped({7: 0.0}, True) == set()
    assert Halving(reduction=2).stopped({4: 0.5, 2: 0.5}, True) == {4}


def test_a_late_comer_is_judged_by_all_that_came_before():
    before = {n: n / 10 for n in range(9)}
    assert 9 in Halving().stopped({**before, 9: 0.45}, True)
    assert 9 not in Halving().stopped({**before, 9: 0.55}, True)


def test_places_at_a_rung_grow_with_those_that_reach_it():
    reached = [0.5, 0.9, 0.7, 0.6, 0.1]
    went_on = [set(range(n)) - Halving(reduction=2).stopped(dict(enumerate(reached[:n])), True) for n in range(1, 6)]
    assert went_on == [{0}, {1}, {1, 2}, {1, 2}, {1, 2, 3}]
