"""What the models of the smaller methods share: weights, softmax classifiers beside them, and their way to disk."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal, Self

import torch
from pydantic import Field
from torch import Tensor

from platform.errors import InputError
from platform.method import PAPERS_GATE, Member, MethodConfig, Model, tensors_of
from platform.zeroshot.classifiers import SoftmaxClassifier, fit_on_task

# SynSE's (Section 2.6), for the presets that have its values
SYNSES_GATE: Mapping[str, Any] = {
    "seen_classifier": "logits",
    **PAPERS_GATE,
    "combination": "hard",
    "gate_balanced": False,
    "gate_chosen_by": "accuracy",
}


class SeenClassifierConfig(MethodConfig):
    """Fields of what scores the seen classes, for methods that leave it to another classifier."""

    seen_classifier: Literal["features", "logits"] = Field(
        "features",
        description="seen scores: a softmax layer fitted on the features, or the extractor's own, whose logits the "
        "data set then brings (SynSE, 2.5)",
    )
    seen_classifier_c: float = Field(1.0, gt=0, description="inverse L2 penalty of that layer (scikit-learn's C)")


@dataclass(frozen=True)
class WeightsModel(Model):
    """A trained member: the matrices of its layers and their biases, and what was fitted on top of them.

    weights: (rows, columns) matrices at the member's own widths, biases (1, columns) as `LAYER_bias`; semantics: (U, T)
    of the unseen classes; classifiers: `seen`, where the config's seen_classifier is `features`, and a method's own;
    kept: other tensors that go to disk; logits: of the samples to score, never saved. Its config has fields
    seen_classifier and seen_classifier_c.
    """

    Config: ClassVar[type[MethodConfig]]

    config: Any
    seed: int
    weights: dict[str, Tensor] = field(repr=False)
    semantics: Tensor = field(repr=False)
    classifiers: dict[str, SoftmaxClassifier] = field(default_factory=dict, repr=False)
    kept: dict[str, Tensor] = field(default_factory=dict, repr=False)
    logits: Tensor | None = field(default=None, repr=False)

    def layer(self, name: str, x: Tensor) -> Tensor:
        """x: (N, rows); gives (N, columns)."""
        return x @ self.weights[name] + self.weights[f"{name}_bias"][0]

    def with_classifier(self, name: str, classifier: SoftmaxClassifier) -> Self:
        return replace(self, classifiers={**self.classifiers, name: classifier})

    def given(self, logits: Tensor) -> Self:
        """For samples with these logits (N, S); the model itself where it has a seen classifier of its own."""
        return self if "seen" in self.classifiers else replace(self, logits=logits)

    def given_scores(self, samples: int) -> Tensor:
        """(N, S) log-probabilities of the given logits. Raises InputError where some of N samples have none."""
        asked = f"seen_classifier={self.config.seen_classifier}"
        if self.logits is None or not torch.isfinite(self.logits).all():
            raise InputError(f"{asked}: these samples have no logits; use seen_classifier=features")
        if self.logits.shape != (expected := (samples, len(self.seen))):
            shape = tuple(self.logits.shape)
            raise InputError(f"{asked}: the logits have shape {shape}, expected {expected}: samples and seen classes")
        return torch.log_softmax(self.logits, dim=1)

    def seen_scores(self, x: Tensor) -> Tensor:
        if "seen" not in self.classifiers:
            return self.given_scores(len(x))
        return self.classifiers["seen"].log_probabilities(x)

    def with_classes(self, names: Sequence[str], semantics: Tensor) -> Self:
        semantics = self.as_wide(semantics, self.semantics)
        return replace(self, unseen=tuple(names), semantics=semantics).refitted()

    def refitted(self) -> Self:
        """With classifiers for the unseen classes that it now has; a method that has none has nothing to do."""
        return self

    def all_classifiers(self) -> Mapping[str, SoftmaxClassifier]:
        """Those to save."""
        return self.classifiers

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        tensors = {f"weights.{name}": tensor for name, tensor in self.weights.items()} | {"semantics": self.semantics}
        for name, classifier in self.all_classifiers().items():
            tensors |= {f"classifiers.{name}.weight": classifier.weight, f"classifiers.{name}.bias": classifier.bias}
        tensors |= {f"kept.{name}": tensor for name, tensor in self.kept.items()}
        return tensors, {"config": self.config.model_dump(), "seed": self.seed}

    @classmethod
    def from_state(cls, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> Self:
        parts = tensors_of(tensors, "classifiers")
        names = [name.removesuffix(".weight") for name in parts if name.endswith(".weight")]
        config = cls.Config(**values["config"])
        relu = getattr(config, "classifier_relu", False)  # of all but the one on the features
        return cls(
            seen=values["seen"],
            unseen=values["unseen"],
            combination=values["combination"],
            config=config,
            seed=values["seed"],
            weights=tensors_of(tensors, "weights"),
            semantics=tensors["semantics"],
            classifiers={
                n: SoftmaxClassifier(parts[f"{n}.weight"], parts[f"{n}.bias"], relu and n != "seen") for n in names
            },
            kept=tensors_of(tensors, "kept"),
        )


def check_seen_classifier(member: Member) -> None:
    """Raises InputError where given logits are wanted and there are none."""
    if member.config.seen_classifier == "logits" and member.task.logits is None:
        raise InputError("seen_classifier=logits: the data folder has no logits; use seen_classifier=features")


def seen_classifiers(member: Member, features: Tensor) -> dict[str, SoftmaxClassifier]:
    """`seen`, where the config wants it on features: fitted once for all that train on the task.

    features: (N, D), the task's, on the device.
    """
    if member.config.seen_classifier not in ("features", "logits-or-features"):
        return {}
    return {"seen": fit_on_task(member.task, features, member.config.seen_classifier_c)}
