"""What methods share that compare a sample with each class's text: their models, and populations whose steps see all
seen classes at once."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from methods.models import WeightsModel, check_seen_classifier, seen_classifiers
from platform.learning.stacked import StackedPopulation
from platform.method import PAPERS_GATE, Member, MethodConfig, Model, ScoringConfig
from platform.population.adam import PopulationAdam
from platform.workers import Workers

# of SynSE's comparison, for the presets that have its values
SYNSES_GATE: Mapping[str, Any] = {
    "seen_classifier": "logits",
    **PAPERS_GATE,
    "combination": "hard",
    "gate_balanced": False,
}


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

    def seen_scores(self, x: Tensor, logits: Tensor | None = None) -> Tensor:
        if self.config.seen_classifier != "compatibility":
            return super().seen_scores(x, logits)
        return torch.log_softmax(self.products(x, self.kept["seen_classes"]), dim=1)

    def sides(self, x: Tensor, logits: Tensor | None = None) -> tuple[Tensor, Tensor]:
        stacked = self.config.combination == "stacking" and self.config.seen_classifier == "compatibility"
        if self.config.combination != "joint" and not stacked:
            return super().sides(x, logits)
        places = torch.cat([self.kept["seen_classes"], self.class_places(self.semantics)])
        scores = torch.log_softmax(self.products(x, places), dim=1)
        return scores[:, : len(self.seen)], scores[:, len(self.seen) :]


class CompatibilityPopulation(StackedPopulation):
    """Members whose steps compare a batch with the text of all seen classes.

    text: (members, S, T), zero beyond a member's classes; is_class: (members, S) where they are; losses: names of the
    terms that `differentiate` gives.
    """

    losses: ClassVar[Sequence[str]]
    Model: ClassVar[type[CompatibilityModel]]

    def __init__(self, members: Sequence[Member], workers: Workers) -> None:
        self.configs: list[Any] = [m.config for m in members]
        self.batch_size = self.configs[0].batch_size
        super().__init__(members, workers)
        self.text, self.is_class = self._seen_classes()
        self.first_class = torch.tensor(self.data.first_classes, device=self.device)[:, None]
        self.step = self.replayed(self._take_step)

    @abstractmethod
    def differentiate(self, x: Tensor, labels: Tensor, rows: Tensor) -> Tensor:
        """Write the gradients of all terms with their weights; gives the terms, (losses, members).

        x: (members, batch, D); labels: (members, batch) in 0 … S − 1; rows: (members, batch) in the population's data.
        """

    def make_optimisers(self) -> Sequence[PopulationAdam]:
        self.optimiser = PopulationAdam(self.layers.parameters, [c.learning_rate for c in self.configs])
        return [self.optimiser]

    def steps_of_epoch(self) -> Sequence[int] | None:
        """Of each member; None for one pass over its samples."""
        return None

    def next_epoch(self) -> list[dict[str, float]]:
        steps, rows = self.data.batches(self.epochs, self.batch_size, self.steps_of_epoch())
        rows = rows[:, :, self.workers.share(self.batch_size)]  # (longest, members, batch)
        counts = torch.tensor(steps, device=self.device)
        active = self.alive & (torch.arange(len(rows), device=self.device)[:, None] < counts)  # (longest, members)
        losses = torch.zeros(len(rows), len(self.losses), len(self.members), device=self.device)
        for step, everyone in enumerate(active.all(1).tolist()):
            losses[step] = self.step(everyone, rows[step], active[step])
        totals = torch.where(active[:, None], losses, 0.0).sum(dim=0, dtype=torch.float64).float()
        return self.report(self.losses, self.workers.average([totals])[0] / active.sum(dim=0))

    def models(self, indices: Sequence[int]) -> list[Model]:
        """Some members as they are now, each with its seen classifier."""
        models = []
        for m in indices:
            member, task = self.members[m], self.data.tasks[m]
            model = self.Model(
                seen=member.task.seen,
                unseen=member.task.unseen,
                combination=None,
                config=member.config,
                seed=member.seed,
                weights=self.layers.own(m, self.layers.parameters),
                semantics=self.data.unseen_semantics(m),
                classifiers=seen_classifiers(member, task.features),
            )
            model.kept["seen_classes"] = model.class_places(task.semantics[: len(task.seen)])
            models.append(model)
        return models

    def chosen(self, chosen: Sequence[bool]) -> Tensor | None:
        """(members,) bool; None where it is nobody."""
        return torch.tensor(chosen, device=self.device) if any(chosen) else None

    def numbers(self, name: str) -> Tensor:
        """(members,) each one's value of a field."""
        return torch.tensor([getattr(c, name) for c in self.configs], device=self.device)

    def _seen_classes(self) -> tuple[Tensor, Tensor]:
        counts = [len(m.task.seen) for m in self.members]
        text = torch.zeros(len(counts), max(counts), self.data.semantics.shape[1], device=self.device)
        for m, count in enumerate(counts):
            text[m, :count] = self.data.tasks[m].semantics[:count]
        return text, torch.arange(max(counts), device=self.device) < torch.tensor(counts, device=self.device)[:, None]

    def _take_step(self, everyone: bool, rows: Tensor, active: Tensor) -> Tensor:
        """One step of all members; gives the terms (losses, members). rows: (members, batch); active: (members,)."""
        labels = self.data.classes[rows] - self.first_class
        losses = self.differentiate(self.data.batch(rows)[0], labels, rows)
        gradients = [self.layers.gradients[name] for name in self.optimiser.parameters]
        self.optimiser.step(self.workers.average(gradients), None if everyone else active)
        return losses


def check_members(members: Sequence[Member]) -> None:
    """Raises InputError where given logits are wanted and there are none."""
    for member in members:
        check_seen_classifier(member)
