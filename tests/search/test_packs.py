from collections import deque

import pytest

from platform.search.packs import Pack, Packs, halves
from platform.search.study import Proposal


def proposals(sizes):
    return [Proposal(f"p-{i:02d}", i, {"batch_size": size}) for i, size in enumerate(sizes)]


def packs_of(several, size=4, concurrency=1, ahead=None):
    waiting = deque(several)
    return Packs(
        lambda: waiting.popleft() if waiting else None,
        lambda: len(waiting),
        lambda proposal: proposal.values["batch_size"],
        size,
        concurrency,
        ahead,
    )


def handed_out(packs):
    found = []
    while (pack := packs.next()) is not None:
        found.append([p.number for p in pack.members])
    return found


def test_a_pack_holds_what_can_train_side_by_side_and_everything_goes_out_once():
    found = handed_out(packs_of(proposals([32, 64, 32, 32, 64, 32, 32]), size=3))
    assert found == [[0, 2, 3], [5, 6], [1, 4]]


def test_packs_shrink_so_that_all_lanes_end_together():
    assert [len(pack) for pack in handed_out(packs_of(proposals([32] * 10), size=8, concurrency=2))] == [5, 3, 1, 1]


def test_a_sampler_that_learns_is_asked_for_few():
    packs = packs_of(proposals([32, 64] * 20), size=2, ahead=6)
    assert [p.number for p in packs.next().members] == [0, 2]
    assert packs.left() == 40 - 3
    assert packs_of(proposals([32, 64] * 20), size=2).next() is not None


def test_free_places_are_filled_from_the_same_group():
    packs = packs_of(proposals([32, 64, 32, 64, 64]), size=1)
    assert [p.number for p in packs.next().members] == [1]
    assert [p.number for p in packs.joining(64, 3)] == [3, 4]
    assert packs.joining(64, 3) == []
    assert handed_out(packs) == [[0], [2]]


def test_joining_too_leaves_other_lanes_their_share():
    packs = packs_of(proposals([32] * 8), size=4, concurrency=2)
    assert [len(packs.next().members) for _ in range(2)] == [4, 2]
    assert [p.number for p in packs.joining(32, 4)] == [6]
    assert [p.number for p in packs.joining(32, 4)] == [7]


def test_what_waits_in_other_groups_is_not_asked_around():
    """A sampler that learns is not asked for ever more until one of the wanted group comes."""
    packs = packs_of(proposals([32, *[64] * 20, 32]), size=1, ahead=4)
    packs.next()
    assert packs.joining(32, 1) == []
    assert packs.left() == 17


def test_who_is_added_waits_with_the_others():
    packs = packs_of(proposals([32]), size=2)
    packs.add(Proposal("p-09", 9, {"batch_size": 32}))
    assert handed_out(packs) == [[9, 0]]


@pytest.mark.parametrize("ahead", [None, 3, 12])
@pytest.mark.parametrize("concurrency", [1, 2, 5])
@pytest.mark.parametrize("size", [1, 3, 8])
def test_everything_goes_out_once_in_packs_and_into_free_places(size, concurrency, ahead):
    sizes = [(32, 64, 128)[i * i % 7 % 3] for i in range(30)]
    packs, out = packs_of(proposals(sizes), size, concurrency, ahead), []
    while (pack := packs.next()) is not None:
        came = [*pack.members, *packs.joining(pack.members[0].values["batch_size"], 2)]
        assert len(pack.members) <= size
        assert len({p.values["batch_size"] for p in came}) == 1
        out += came
    assert sorted(p.number for p in out) == list(range(30))


def test_what_is_given_back_goes_out_first():
    packs = packs_of(proposals([32, 32]), size=1)
    lost = packs.next()
    packs.give_back(Pack(lost.folder, lost.members, deaths=1))
    assert packs.next() == Pack("p-00", lost.members, 1)


@pytest.mark.parametrize(("count", "expected"), [(1, [[0]]), (2, [[0], [1]]), (5, [[0, 1, 2], [3, 4]])])
def test_halves(count, expected):
    assert [[p.number for p in half] for half in halves(proposals([32] * count))] == expected
