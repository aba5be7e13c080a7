import pytest
import torch

from methods.latents import classifiers_on, drawn, rows_of_classes
from platform.population.draws import generator
from platform.zeroshot.classifiers import Adam, Penalised, fit_on_latents


def test_latents_are_drawn_around_their_means():
    head = torch.tensor([[1.0, -2.0, 0.0, 2.0]]).expand(3, 1, 4).expand(-1, 20_000, -1)  # log-variances 0 and 2
    latents = drawn(head, False, generator(0))
    assert latents.shape == (3, 20_000, 2)
    torch.testing.assert_close(latents.mean(dim=1), torch.tensor([[1.0, -2.0]]).expand(3, -1), atol=0.06, rtol=0)
    assert latents.std(dim=1)[0].tolist() == pytest.approx([1, 2.718], rel=0.03)
    assert abs(torch.corrcoef(latents[0].T)[0, 1]) < 0.05


def test_one_draw_a_sample_moves_all_dimensions_together():
    latents = drawn(torch.zeros(2, 50, 6), True, generator(0))
    assert (latents == latents[..., :1]).all()
    assert len(latents[..., 0].unique()) == 100


def test_each_class_gives_rows_of_its_own():
    labels = torch.tensor([2, 0, 2, 1, 2, 0])
    rows = rows_of_classes(labels, 3, 40, generator(0))
    assert (labels[rows] == torch.arange(3)[:, None]).all()
    assert rows[2].unique().tolist() == [0, 2, 4]
    assert rows[1].unique().tolist() == [3]


def test_members_of_any_sizes_get_the_classifiers_that_they_would_get_alone():
    shapes = ([(3, 10, 4)], [(2, 5, 6), (3, 10, 6)], [(3, 10, 5)], [(3, 10, 4)])  # blocks of classes, samples, width
    latents = [[torch.randn(*block, generator=generator(m, b)) for b, block in enumerate(own)]
               for m, own in enumerate(shapes)]  # fmt: skip
    options = [(Adam(30, 0.02), False), (Adam(30, 0.02), False), (Penalised(0.1), False), (Adam(9, 0.1, 4), True)]
    draws = [generator(m, "start") for m in range(4)]
    fitted = classifiers_on(latents, *zip(*options, strict=True), draws)
    for m, (own, option) in enumerate(zip(latents, options, strict=True)):
        counts = [samples for classes, samples, _ in shapes[m] for _ in range(classes)]
        labels = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
        x = torch.cat([block.flatten(0, 1) for block in own])
        (alone,) = fit_on_latents([x], labels, len(counts), *option, [generator(m, "start")])
        torch.testing.assert_close(fitted[m].weight, alone.weight)
        torch.testing.assert_close(fitted[m].log_probabilities(x), alone.log_probabilities(x))
