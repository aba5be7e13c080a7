"""What methods share that are solved and not trained: least squares on the features.

The features of a task are decomposed once, for all members and configurations that are fitted on it. A solution for
other penalties is then a few small products, so that a whole grid of them costs little more than one.
"""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Self
from weakref import WeakKeyDictionary

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import normalize

from methods.compatibility import CompatibilityModel, CompatibilityScoring
from methods.models import check_seen_classifier, seen_classifiers
from platform.method import Member, SolvedMethod
from platform.zeroshot.task import Task

_ROWS = 8192  # of the features, that are in double precision at a time
_OF_TASKS: WeakKeyDictionary[Task, dict[tuple[bool, torch.device], "Decomposition"]] = WeakKeyDictionary()


class ClosedFormConfig(CompatibilityScoring):
    """Fields of every such method: how its products become probabilities, and what joins both sides."""

    temperature: float = Field(0.1, gt=0, description="by which products are divided before a softmax (ours)")
    seen_classifier: Literal["compatibility", "features", "logits"] = Field(
        "compatibility", description="seen scores: its own, or another classifier's (a softmax layer, given logits)"
    )
    combination: Literal["stacking", "joint", "hard", "soft"] = Field(
        "stacking",
        description="calibrated stacking (Chao et al., 2016), joint: the largest score of all classes, or a gate",
    )


@dataclass(frozen=True)
class Decomposition:
    """XᵀX of a task's features X (N, D) as axes · diag(values) · axesᵀ, and the sums of each class's samples.

    axes: (D, k); values: (k,); sums: (k, S), axesᵀ Xᵀ Y, where Y (N, S) is one at each sample's class; counts: (S,)
    samples of each class; mean: (D,), what was taken from every row of X, zero where nothing was. All are float64: the
    eigenvalues of real features spread over more digits than float32 has.
    """

    axes: Tensor
    values: Tensor
    sums: Tensor
    counts: Tensor
    mean: Tensor

    @classmethod
    def of(cls, features: Tensor, labels: Tensor, classes: int, centred: bool) -> Self:
        """features: (N, D); labels: (N,) in 0 … classes − 1; centred: take the mean row from each."""
        samples, dimension = features.shape
        zero = torch.zeros(dimension, dtype=torch.float64, device=features.device)
        mean = features.mean(0, dtype=torch.float64) if centred else zero
        by_class = zero.new_zeros(classes, dimension)
        if samples >= dimension:
            gram = zero.new_zeros(dimension, dimension)
            for rows, own in zip(features.split(_ROWS), labels.split(_ROWS), strict=True):
                x = rows - mean
                gram.addmm_(x.T, x)
                by_class.index_add_(0, own, x)
            values, axes = torch.linalg.eigh(gram)
        else:  # the same axes, from the smaller XXᵀ
            x = features - mean
            by_class.index_add_(0, labels, x)
            values, of_samples = torch.linalg.eigh(x @ x.T)
            there = values > values[-1] * samples * torch.finfo(values.dtype).eps
            values = values[there]
            axes = x.T @ (of_samples[:, there] * values.rsqrt())
        counts = torch.bincount(labels, minlength=classes).to(values)
        return cls(axes, values.clamp_min(0), axes.T @ by_class.T, counts, mean)

    def solution(self, targets: Tensor, penalty: float) -> Tensor:
        """(D, T): the B of least ‖XB − YV‖² + penalty · ‖B‖². targets: V (S, T), a class's row for its samples."""
        return self.axes @ ((self.sums @ targets) / (self.values + penalty)[:, None])

    def error(self, weights: Tensor, targets: Tensor) -> float:
        """Of XB for YV, squared, the mean over samples and columns. weights: B (D, T); targets: V (S, T)."""
        along = self.axes.T @ weights
        squares = self.values @ along.square() - 2 * (along * (self.sums @ targets)).sum(0)
        return ((squares + self.counts @ targets.square()).mean() / self.counts.sum()).item()


def decomposed(task: Task, device: torch.device, centred: bool) -> Decomposition:
    """Of a task's own features, once for all that are fitted on the task."""
    found, key = _OF_TASKS.setdefault(task, {}), (centred, device)
    if key not in found:
        found[key] = Decomposition.of(task.features.to(device), task.labels.to(device), len(task.seen), centred)
    return found[key]


@dataclass(frozen=True)
class Solution:
    """One member's, float64. map: (D, T), bias: (T,), from features to text; error: mean squared; kept: a model's."""

    map: Tensor
    bias: Tensor
    error: float
    kept: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class ClosedFormModel(CompatibilityModel):
    """A solved member, whose layer `map` takes samples (N, D) into the space of the class text (N, T)."""

    def latents(self, x: Tensor) -> dict[str, Tensor]:
        return {"text": self.layer("map", x)}


class ClosedFormMethod(SolvedMethod):
    """A method whose members are solved, each by itself. centred: whether their features are, around their mean."""

    Model: ClassVar[type[ClosedFormModel]]
    centred: ClassVar[bool]

    @abstractmethod
    def solve(self, config: Any, features: Decomposition, text: Tensor) -> Solution:
        """One member's. text: (S, T) of the seen classes, each at length 1, float64."""

    def solved(self, member: Member, device: torch.device) -> tuple[ClosedFormModel, Mapping[str, float]]:
        """Members of one task share its decomposition. Raises InputError where logits are wanted and not there."""
        check_seen_classifier(member)
        task, semantics = member.task, member.task.semantics.to(device)
        seen, unseen = semantics.split([len(task.seen), len(task.unseen)])
        features = decomposed(task, device, self.centred)
        solution = self.solve(member.config, features, normalize(seen.double(), dim=1))
        model = self.Model(
            seen=task.seen,
            unseen=task.unseen,
            combination=None,
            config=member.config,
            seed=member.seed,
            weights={"map": solution.map.float(), "map_bias": solution.bias[None].float()},
            semantics=unseen,
            classifiers=seen_classifiers(member, task.features.to(device)),
            kept={name: tensor.float() for name, tensor in solution.kept.items()},
        )
        model.kept["seen_classes"] = model.class_places(seen)
        return model, {"squared_error": solution.error}
