"""What methods share that compare a sample with each class's text: fields of their configs, and their models."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from methods.models import WeightsModel, check_seen_classifier, seen_classifiers
from platform.learning.batch import Batch
from platform.learning.stated import StatedMethod, Trained
from platform.method import Member, MethodConfig, Model, ScoringConfig
from platform.population.layers import stacked_product


class CompatibilityScoring(ScoringConfig):
    """Fields of every such method: what the seen scores are, and what joins both sides."""

    seen_classifier: Literal["features", "logits", "compatibility"] = Field(
        "features",
        description="seen scores: a softmax layer on the features, given logits (SynSE), or compatibilities",
    )
    seen_classifier_c: float = Field(1.0, gt=0, description="inverse L2 penalty of that layer (scikit-learn's C)")
    combination: Literal["hard", "soft", "stacking", "joint"] = Field(
        "soft",
        description="a gate, hard or soft (SynSE), calibrated stacking, or joint: compatibilities with all classes",
    )


class CompatibilityConfig(CompatibilityScoring, MethodConfig):
    """The same of one that is trained."""


@dataclass(frozen=True)
class CompatibilityModel(WeightsModel):
    """A trained member that scores classes by their compatibility with a sample.

    kept: `seen_classes`, (S, width) places of the seen classes. With combination=joint, or stacking of
    seen_classifier=compatibility, the scores over all classes are one softmax of the products.
    """

    @property
    def learns_seen_classes(self) -> bool:
        return self.config.seen_classifier == "compatibility"

    @abstractmethod
    def class_places(self, semantics: Tensor) -> Tensor:
        """What stands for each class, (C, width). semantics: (C, T)."""

    @abstractmethod
    def products(self, x: Tensor, places: Tensor) -> Tensor:
        """Compatibilities (N, C). x: (N, D), places: (C, width)."""

    def unseen_scores(self, x: Tensor) -> Tensor:
        return torch.log_softmax(self.products(x, self.class_places(self.semantics)), dim=1)

    def seen_scores(self, x: Tensor) -> Tensor:
        if self.config.seen_classifier != "compatibility":
            return super().seen_scores(x)
        return torch.log_softmax(self.products(x, self.kept["seen_classes"]), dim=1)

    def sides(self, x: Tensor) -> tuple[Tensor, Tensor]:
        stacked = self.config.combination == "stacking" and self.config.seen_classifier == "compatibility"
        if self.config.combination != "joint" and not stacked:
            return super().sides(x)
        places = torch.cat([self.kept["seen_classes"], self.class_places(self.semantics)])
        scores = torch.log_softmax(self.products(x, places), dim=1)
        return scores[:, : len(self.seen)], scores[:, len(self.seen) :]


def hinge_loss(places: Tensor, classes: Tensor, own: Tensor, batch: Batch) -> Tensor:
    """(…,) Σ_c max(0, margin + s_c − s_y) over the classes other than y, averaged over the batch.

    s are products of a sample with classes. With negatives=fixed, as in SynSE's code, the other classes' text is not
    moved, and the own class's is pulled towards the sample at every step, since that code's sum includes y.

    places: (…, batch, width), classes: (…, S, width), own: (…, batch, S), one at each sample's class.
    """
    others = batch.fields.chosen("negatives", {"moved": classes, "fixed": classes.detach})
    mine = stacked_product(own, classes)  # (…, batch, width)
    right = (places * mine).sum(dim=-1, keepdim=True)
    margin = batch.fields.number("margin")[..., None, None]
    beyond = (margin + stacked_product(places, others.mT) - right).relu()
    value = (beyond * (1 - own) * batch.seen.exist[..., None, :]).sum(dim=(-2, -1))
    pull = (places.detach() * (mine.detach() - mine)).sum(dim=(-2, -1))  # zero, but for its gradient
    pull = batch.fields.chosen("negatives", {"moved": lambda: torch.zeros_like(pull), "fixed": pull})
    return (value + pull) / own.shape[-2]


class CompatibilityMethod(StatedMethod):
    """A method whose losses compare a batch with the text of all seen classes."""

    reads_classes = True
    Model: ClassVar[type[CompatibilityModel]]

    def models(self, trained: Sequence[Trained]) -> list[Model]:
        """Each with its seen classifier."""
        models = []
        for one in trained:
            model = one.model(self.Model)
            model.classifiers.update(seen_classifiers(one.member, one.task.features))
            model.kept["seen_classes"] = model.class_places(one.task.semantics[: len(one.task.seen)])
            models.append(model)
        return models

    def check(self, members: Sequence[Member]) -> None:
        """Raises InputError where given logits are wanted and there are none."""
        for member in members:
            check_seen_classifier(member)
