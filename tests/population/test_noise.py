from itertools import pairwise

import pytest
import torch

from platform.population.noise import EpochNoise

PARTS = ("z_v", "z_r", "z_r")
BATCH, STEPS = 8, 37  # more steps than are drawn at once
WHOLE = slice(0, BATCH)
MEMBERS = (  # seed, epoch, widths of z_v and z_r, and whether a sample has one draw for all dimensions of a part
    (3, 0, 2, 3, False),
    (3, 5, 4, 1, False),
    (5, 2, 1, 6, True),
    (6, 0, 0, 2, True),
    (7, 1, 0, 4, False),
)


def drawn(members, mine=WHOLE):
    """The noise of an epoch, part by part (steps, members, batch, width), and permutations (steps, members, batch)."""
    seeds, epochs, z_v, z_r, one_a_sample = zip(*members, strict=True)
    widths = [{"z_v": v, "z_r": r} for v, r in zip(z_v, z_r, strict=True)]
    epoch = EpochNoise(seeds, epochs, PARTS, widths, one_a_sample, BATCH, mine, torch.device("cpu"))
    noise, orders = (torch.stack(steps) for steps in zip(*(epoch.step(s) for s in range(STEPS)), strict=True))
    return noise.split([max(z_v), max(z_r), max(z_r)], dim=-1), orders


@pytest.mark.parametrize("company", [(0, 1, 2, 3, 4), (4, 0, 3), (2, 1), (3, 2)])
def test_a_member_draws_the_same_in_any_company(company):
    together, orders = drawn([MEMBERS[m] for m in company])
    for place, m in enumerate(company):
        alone, own_orders = drawn([MEMBERS[m]])
        assert torch.equal(orders[:, place], own_orders[:, 0])
        for part, own in zip(together, alone, strict=True):
            assert torch.equal(part[:, place, :, : own.shape[-1]], own[:, 0])
            assert not part[:, place, :, own.shape[-1] :].any()


def test_a_part_that_a_member_has_not_stays_zero_where_all_parts_are_one_wide():
    (z_v, z_r, _), _ = drawn([(0, 0, 1, 1, True), (1, 0, 0, 1, True)])
    assert z_v[:, 0].all()
    assert not z_v[:, 1].any()
    assert z_r.all()


def test_no_two_draws_of_a_member_are_the_same():
    parts, orders = drawn([MEMBERS[0]])
    values = torch.cat([part.flatten() for part in parts])
    assert len(values.unique()) > 0.99 * len(values)
    assert not all(torch.equal(a, b) for a, b in pairwise(orders))


def test_another_seed_or_epoch_draws_other_numbers():
    first = drawn([(3, 0, 2, 3, False)])
    for other in ((4, 0, 2, 3, False), (3, 1, 2, 3, False)):
        (z_v, *_), orders = drawn([other])
        assert not (z_v == first[0][0]).any()
        assert not torch.equal(orders, first[1])


def test_one_draw_a_sample_fills_each_part():
    for part in drawn([MEMBERS[2]])[0]:
        assert (part == part[..., :1]).all()
    z_v, z_r, z_y = drawn([MEMBERS[2]])[0]
    assert not (z_v[..., 0] == z_r[..., 0]).any()
    assert not (z_r[..., 0] == z_y[..., 0]).any()


def test_parts_in_a_tuple_share_the_one_draw_of_a_sample():
    widths = [{"z": 2}, {"z": 3}]
    epoch = EpochNoise((5, 6), (0, 0), (("z", "z"), "z"), widths, (True, False), BATCH, WHOLE, torch.device("cpu"))
    noise = epoch.step(0)[0]
    first, second, other = noise[0].split(3, dim=-1)
    assert torch.equal(first, second)
    assert not (first[:, 0] == other[:, 0]).any()
    assert (first[:, 0] == first[:, 1]).all()
    assert not first[:, 2].any()
    plain = EpochNoise((6,), (0,), ("z", "z", "z"), widths[1:], (False,), BATCH, WHOLE, torch.device("cpu"))
    assert torch.equal(noise[1], plain.step(0)[0][0])


def test_the_noise_is_standard_normal():
    values = torch.cat([part.flatten() for part in drawn([(0, 0, 20, 30, False)])[0]])
    assert values.mean().item() == pytest.approx(0, abs=0.02)
    assert values.std().item() == pytest.approx(1, abs=0.02)


def test_orders_are_permutations():
    _, orders = drawn(MEMBERS)
    assert (orders.sort(dim=-1).values == torch.arange(BATCH)).all()


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_workers_see_slices_of_what_one_would_see(workers):
    whole, _ = drawn(MEMBERS)
    size = BATCH // workers
    shares = [drawn(MEMBERS, slice(rank * size, (rank + 1) * size)) for rank in range(workers)]
    for part, own in zip(whole, zip(*(parts for parts, _ in shares), strict=True), strict=True):
        assert torch.equal(torch.cat(own, dim=2), part)
    for _, orders in shares:
        assert (orders.sort(dim=-1).values == torch.arange(size)).all()
    assert len({tuple(orders.flatten().tolist()) for _, orders in shares}) == workers
