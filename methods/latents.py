"""Latents drawn class by class, and the classifiers that are trained on them."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from platform.errors import InputError
from platform.zeroshot.classifiers import Adam, Penalised, SoftmaxClassifier, Training, fit_on_latents


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


def training_of(config: Any) -> Training:
    """As a config's classifier_fit, classifier_c, classifier_steps and classifier_learning_rate say."""
    if config.classifier_fit == "penalised":
        return Penalised(config.classifier_c)
    return Adam(config.classifier_steps, config.classifier_learning_rate)


def check_classifier(config: Any) -> None:
    """Raises InputError where a ReLU on the logits leaves no minimum to be found."""
    if config.classifier_relu and config.classifier_fit == "penalised":
        raise InputError("classifier_relu=true: its loss has no single minimum; must be with classifier_fit=adam")


def classifiers_on(
    latents: Sequence[Sequence[Tensor]],
    trainings: Sequence[Training],
    relu: Sequence[bool],
    draws: Sequence[torch.Generator],
) -> list[SoftmaxClassifier]:
    """One softmax classifier a member (`fit_on_latents`), fitted together where members agree in all but the width.

    latents: a member's, blocks (classes, samples, z) of classes numbered through; trainings, relu, draws: one a member.
    """
    device = latents[0][0].device
    groups: dict[tuple, list[int]] = {}
    for m, blocks in enumerate(latents):
        shapes = tuple((len(block), block.shape[1]) for block in blocks)
        groups.setdefault((shapes, trainings[m], relu[m]), []).append(m)
    fitted: dict[int, SoftmaxClassifier] = {}
    for (shapes, training, cut), together in groups.items():
        counts = torch.tensor([samples for classes, samples in shapes for _ in range(classes)], device=device)
        labels = torch.arange(len(counts), device=device).repeat_interleave(counts)
        own = [torch.cat([block.flatten(0, 1) for block in latents[m]]) for m in together]
        found = fit_on_latents(own, labels, len(counts), training, cut, [draws[m] for m in together])
        fitted |= dict(zip(together, found, strict=True))
    return [fitted[m] for m in range(len(latents))]
