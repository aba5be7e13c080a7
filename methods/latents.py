"""Latents drawn class by class, and the classifiers that are trained on them."""

from collections.abc import Sequence

import torch
from torch import Tensor

from platform.zeroshot.classifiers import SoftmaxClassifier, fit_on_latents


def drawn(head: Tensor, one_a_sample: bool, draw: torch.Generator) -> Tensor:
    """Draws from N(mean, deviation²). head: (classes, samples, 2·z), means then log-variances; gives half as wide.

    one_a_sample: one standard normal number for all dimensions of a sample, in place of one for each.
    """
    mean, logvar = head.chunk(2, dim=-1)
    width = 1 if one_a_sample else mean.shape[-1]
    noise = torch.randn(*mean.shape[:-1], width, generator=draw, device=draw.device)
    return mean + (0.5 * logvar).exp() * noise


def rows_of_classes(labels: Tensor, classes: int, samples: int, draw: torch.Generator) -> Tensor:
    """(classes, samples) rows of `labels` (N,), drawn from each class's own with replacement; each class has some."""
    counts = torch.bincount(labels, minlength=classes)
    first = counts.cumsum(0) - counts
    share = torch.rand(classes, samples, generator=draw, device=draw.device)
    place = (share * counts[:, None]).long().clamp(max=counts[:, None] - 1)
    return labels.argsort(stable=True)[first[:, None] + place]


def classifiers_on(
    latents: Sequence[Sequence[Tensor]],
    steps: Sequence[int],
    learning_rates: Sequence[float],
    relu: Sequence[bool],
    draws: Sequence[torch.Generator],
) -> list[SoftmaxClassifier]:
    """One softmax classifier a member (`fit_on_latents`), fitted together where members agree in all but the width.

    latents: a member's, blocks (classes, samples, z) of classes numbered through; steps, learning_rates, relu, draws:
    one a member.
    """
    device = latents[0][0].device
    groups: dict[tuple, list[int]] = {}
    for m, blocks in enumerate(latents):
        shapes = tuple((len(block), block.shape[1]) for block in blocks)
        groups.setdefault((shapes, steps[m], learning_rates[m], relu[m]), []).append(m)
    fitted: dict[int, SoftmaxClassifier] = {}
    for (shapes, *options), together in groups.items():
        counts = torch.tensor([samples for classes, samples in shapes for _ in range(classes)], device=device)
        labels = torch.arange(len(counts), device=device).repeat_interleave(counts)
        own = [torch.cat([block.flatten(0, 1) for block in latents[m]]) for m in together]
        found = fit_on_latents(own, labels, len(counts), *options, [draws[m] for m in together])
        fitted |= dict(zip(together, found, strict=True))
    return [fitted[m] for m in range(len(latents))]
