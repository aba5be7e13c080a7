import pytest
import torch

from platform.population.draws import generator, shuffled_rows


def test_the_names_alone_decide_what_is_drawn():
    first = torch.rand(3, generator=generator(7, "noise", 0))
    torch.rand(100)
    generator(7, "shuffle", 0)
    assert torch.equal(torch.rand(3, generator=generator(7, "noise", 0)), first)


@pytest.mark.parametrize("names", [(8, "noise", 0), (7, "shuffle", 0), (7, "noise", 1), (7, "noise"), (7, "noise0")])
def test_other_names_draw_other_numbers(names):
    assert not torch.equal(
        torch.rand(3, generator=generator(*names)), torch.rand(3, generator=generator(7, "noise", 0))
    )


@pytest.mark.parametrize(("count", "batch_size", "steps"), [(10, 5, 2), (11, 5, 3), (3, 8, 1), (1, 4, 1)])
def test_a_pass_takes_every_row_and_fills_its_last_batch(count, batch_size, steps):
    rows = shuffled_rows(count, batch_size, generator(0))
    assert rows.shape == (steps, batch_size)
    assert sorted(rows.flatten()[:count].tolist()) == list(range(count))
    times = torch.bincount(rows.flatten(), minlength=count)
    assert times.max() - times.min() <= 1


def test_each_pass_has_its_own_order():
    passes = [shuffled_rows(50, 10, generator(0, "shuffle", epoch)) for epoch in range(2)]
    assert not torch.equal(*passes)


def test_so_many_steps_take_one_shuffle_after_the_other():
    rows = shuffled_rows(10, 4, generator(0), steps=6).flatten()
    for start in (0, 10):
        assert sorted(rows[start : start + 10].tolist()) == list(range(10))
    assert shuffled_rows(100, 4, generator(0), steps=3).unique().numel() == 12
