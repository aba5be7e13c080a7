"""Latents drawn class by class, and the classifiers that are trained on them."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import torch
from pydantic import Field
from torch import Tensor

from methods.models import SeenClassifierConfig, WeightsModel
from platform.errors import InputError
from platform.learning.stated import AcceleratedConfig
from platform.population.draws import generator
from platform.zeroshot.classifiers import Adam, Penalised, SoftmaxClassifier, Training, fit_on_latents

_Model = TypeVar("_Model", bound=WeightsModel)


class LatentConfig(SeenClassifierConfig, AcceleratedConfig):
    """Fields that SynSE and SA-DVAE share: of their autoencoders, and of classifiers on latents of the class text."""

    noise: Literal["dimension", "sample"] = Field(
        "dimension", description="a normal draw for each latent dimension, or one for all of a latent (released)"
    )
    output_relu: bool = Field(False, description="ReLU on the decoders' outputs (released)")
    classifier_relu: bool = Field(False, description="ReLU on the logits of classifiers of latents (released)")
    classifier_samples: int = Field(
        500, ge=1, description="latents generated for each unseen class (SynSE, 2.6; Table 3)"
    )
    classifier_fit: Literal["penalised", "adam"] = Field(
        "penalised",
        description="f_u, C_u: the layer of least penalised loss (ours), or full-batch steps of Adam (SynSE, 2.6)",
    )
    classifier_c: float = Field(
        0.1, gt=0, description="inverse L2 penalty of that layer on standardised latents (scikit-learn's C; ours)"
    )
    classifier_steps: int = Field(300, ge=1, description="of Adam, for that layer (SynSE, 2.6)")
    classifier_learning_rate: float = Field(1e-3, gt=0, description="of that Adam (SynSE, 2.6)")


@dataclass(frozen=True)
class LatentModel(WeightsModel):
    """A trained member that recognises classes by classifiers of a sample's latent.

    classifiers: `unseen`, `seen` unless logits are given, and where one joins both, `joint`, over all classes.
    """

    @abstractmethod
    def latent(self, x: Tensor) -> Tensor:
        """(N, z) means of what is drawn. x: (N, D)."""

    @property
    def joint_classifier(self) -> SoftmaxClassifier | None:
        """Over all classes, the seen ones first; None for a gate."""
        return self.classifiers.get("joint")

    def latents(self, x: Tensor) -> dict[str, Tensor]:
        return {"z": self.latent(x)}

    def unseen_scores(self, x: Tensor) -> Tensor:
        return self.classifiers["unseen"].log_probabilities(self.latent(x))

    def sides(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if self.joint_classifier is None:
            return super().sides(x)
        scores = self.joint_classifier.log_probabilities(self.latent(x))
        return scores[:, : len(self.seen)], scores[:, len(self.seen) :]


def drawn(head: Tensor, one_a_sample: bool, draw: torch.Generator) -> Tensor:
    """Draws from N(mean, deviation²). head: (classes, samples, 2·z), means then log-variances; returns half as wide.

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


def check_classifier(config: Any) -> None:
    """Raises InputError where a ReLU on the logits leaves no minimum to be found."""
    if config.classifier_relu and config.classifier_fit == "penalised":
        raise InputError("classifier_relu=true: its loss has no single minimum; must be with classifier_fit=adam")


def with_classifier(
    models: Sequence[_Model],
    latents: Sequence[Sequence[Tensor]],
    name: str,
    trainings: Sequence[Training] | None = None,
) -> list[_Model]:
    """The models with a classifier of their latents (see `classifiers_on`), trained as their configs say.

    trainings: one a model; by default those of a `LatentConfig`.
    """
    draws = [generator(model.seed, f"{name} classifier") for model in models]
    relu = [getattr(model.config, "classifier_relu", False) for model in models]
    found = classifiers_on(latents, trainings or [_training(model.config) for model in models], relu, draws)
    return [model.with_classifier(name, own) for model, own in zip(models, found, strict=True)]


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


def _training(config: Any) -> Training:
    if config.classifier_fit == "penalised":
        return Penalised(config.classifier_c)
    return Adam(config.classifier_steps, config.classifier_learning_rate, gain=0.5)  # released
