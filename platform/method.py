"""The contract of a method: the classes and functions that the platform calls.

A method is a module with one object `method`. The platform finds it by the module's name, so `my_lab.my_method` works
like `methods.sadvae`. The platform owns the training loop: a method makes learners of one member each, or populations
of several that train side by side; the platform calls them for epochs, models and states.
"""

import importlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal, Self

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from platform.configuration import validated
from platform.datasets.contents import FeatureKind, Normalisation
from platform.errors import InputError
from platform.workers import Workers
from platform.zeroshot.gate import Combination, GateOptions
from platform.zeroshot.task import Task


class ScoringConfig(BaseModel):
    """What every Config has: how features are normalised, and how seen and unseen scores are joined.

    The base Config of a closed-form method (`SolvedMethod`).
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)

    normalise: Literal["auto"] | Normalisation = Field(
        "auto", description="of the features, fitted on training samples; auto: as the data folder's card says (ours)"
    )
    combination: Literal["soft", "hard", "stacking"] = Field(
        "soft", description="what joins seen and unseen scores: soft or hard gate (SynSE, Section 2.6), or stacking"
    )
    gate_inputs: Literal["confidence", "probabilities"] = Field(
        "confidence",
        description="what the gate sees: the largest seen log-probability (ours; Hendrycks and Gimpel, 2017), or both "
        "sides' largest probabilities (SynSE, Section 2.6)",
    )
    calibration: Literal["carried", "validated"] = Field(
        "carried",
        description="the threshold of gate or stacking on the final model: where the share of held-out seen samples "
        "that are called seen is that of validation (ours), or validation's number as it is (the papers)",
    )
    temperature_scaling: bool = Field(True, description="choose the gate's temperature (SynSE, Section 2.6), else 1")
    soft_temperature: bool = Field(
        False,
        description="a soft gate joins seen probabilities at its temperature, too, or as they are (SA-DVAE, Eq. 11)",
    )
    gate_balanced: bool = Field(
        True, description="both sides weigh the same in the gate's regression (SA-DVAE's code), or samples do (SynSE's)"
    )
    gate_chosen_by: Literal["harmonic_mean", "accuracy"] = Field(
        "harmonic_mean",
        description="what temperature and threshold maximise on held-out samples: H, or the share of samples on their "
        "own side (SynSE's and SA-DVAE's code); with calibration=validated",
    )

    @property
    def gate_options(self) -> GateOptions:
        """The options of its gate; combination must be soft or hard."""
        return GateOptions(
            kind=self.combination,
            inputs=self.gate_inputs,
            temperature_scaling=self.temperature_scaling,
            tempered=self.soft_temperature,
            balanced=self.gate_balanced,
            threshold="free" if self.calibration == "carried" else "listed",
            chosen_by=self.gate_chosen_by,
        )


class MethodConfig(ScoringConfig):
    """Base of a trained method's Config: frozen; one field a hyperparameter, the paper's value its default."""

    epochs: int = Field(10, ge=1, description="passes over the training samples")
    batch_size: int = Field(32, ge=1, description="samples a step")


def epochs_of(config: ScoringConfig) -> int:
    """The epochs of a trained method; 1 for a closed-form one."""
    return config.epochs if isinstance(config, MethodConfig) else 1


# The gate of SynSE and SA-DVAE, for presets with a paper's or a released code's values, which add its kind.
PAPERS_GATE: Mapping[str, Any] = {
    "gate_inputs": "probabilities",
    "calibration": "validated",
}


@dataclass(frozen=True)
class Member:
    """A member of a population: its task, configuration, and the seed of its random draws.

    state: to resume from, as its learner or population returned it; None for a fresh start.
    """

    task: Task
    config: Any
    seed: int
    state: Mapping[str, Tensor] | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Model(ABC):
    """A trained model over classes numbered seen first, then unseen. Scores are log-probabilities.

    `combination` joins seen and unseen scores; the protocol fits it on pseudo-unseen classes and sets it. A method that
    scores all classes at once offers combination=joint, and `sides` then returns the two blocks of those scores.
    """

    seen: tuple[str, ...]
    unseen: tuple[str, ...]
    combination: Combination | None

    @property
    def learns_seen_classes(self) -> bool:
        """Whether it trains its own seen classifier, so that seen accuracy has a learning curve."""
        return False

    @abstractmethod
    def unseen_scores(self, x: Tensor) -> Tensor:
        """x: (N, D); returns (N, U)."""

    @abstractmethod
    def seen_scores(self, x: Tensor) -> Tensor:
        """x: (N, D); returns (N, S)."""

    def latents(self, x: Tensor) -> dict[str, Tensor]:
        """Latents of samples by name, (N, width) each, for figures; none by default."""
        return {}

    def sides(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """What `combination` joins: (N, S) and (N, U) log-probabilities, of each side or two blocks of joint ones."""
        return self.seen_scores(x), self.unseen_scores(x)

    @abstractmethod
    def with_classes(self, names: Sequence[str], semantics: Tensor) -> Self:
        """The same model with other unseen classes. semantics: (U', T), of the encoder it was trained with."""

    @abstractmethod
    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors and JSON values from which `from_state` makes the model again."""

    @classmethod
    @abstractmethod
    def from_state(cls, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> Self:
        """The inverse of `state`; `combination`, `seen` and `unseen` are among the values."""

    @staticmethod
    def as_wide(semantics: Tensor, own: Tensor) -> Tensor:
        """Semantics of new classes on the model's device. Raises InputError where they are not as wide as its own."""
        if semantics.dim() != 2 or semantics.shape[1] != own.shape[1]:
            expected = f"(classes, {own.shape[1]})"
            raise InputError(f"semantics of new classes: shape {tuple(semantics.shape)}, expected {expected}")
        return semantics.to(own)

    def scores(self, x: Tensor) -> Tensor:
        """(N, C) over all classes; the argmax is the prediction. x: (N, D). Raises where no combination is set."""
        return self._combination().scores(*self.sides(x))

    def curve_scores(self, x: Tensor) -> Tensor:
        """(N, C) scores with a margin at every sample, from which the seen-unseen curve is drawn."""
        return self._combination().curve_scores(*self.sides(x))

    def joined_by(self, combination: Combination) -> Self:
        return replace(self, combination=combination)

    def _combination(self) -> Combination:
        if self.combination is None:
            raise InputError("this model joins no seen and unseen scores: it was trained without the gate's stage")
        return self.combination


class Learner(ABC):
    """One member in training, epoch by epoch."""

    @abstractmethod
    def train_epoch(self) -> Mapping[str, float]:
        """Train the next epoch; returns its mean losses, which are not finite once the member has diverged."""

    @abstractmethod
    def model(self) -> Model:
        """The current model, which later epochs do not change."""

    @abstractmethod
    def state(self) -> Mapping[str, Tensor]:
        """Everything that its next epochs depend on, the count of epochs included, copied."""


class Population(ABC):
    """Several members that train side by side; they may have trained for different counts of epochs."""

    @abstractmethod
    def train_epoch(self) -> Sequence[Mapping[str, float]]:
        """Train each member's next epoch; returns mean losses, which are not finite for one that diverged."""

    @abstractmethod
    def models(self, places: Sequence[int]) -> Sequence[Model]:
        """The current models of some members, which later epochs do not change."""

    @abstractmethod
    def states(self, places: Sequence[int]) -> Sequence[Mapping[str, Tensor]]:
        """Everything that the next epochs of some members depend on, their counts of epochs included, copied."""


@dataclass(frozen=True)
class LoopedPopulation(Population):
    """Learners that train one after the other in every epoch."""

    learners: Sequence[Learner]

    def train_epoch(self) -> Sequence[Mapping[str, float]]:
        return [learner.train_epoch() for learner in self.learners]

    def models(self, places: Sequence[int]) -> Sequence[Model]:
        return [self.learners[place].model() for place in places]

    def states(self, places: Sequence[int]) -> Sequence[Mapping[str, Tensor]]:
        return [self.learners[place].state() for place in places]


class Method(ABC):
    """What a method's module offers as `method`."""

    Config: ClassVar[type[ScoringConfig]]
    Model: ClassVar[type[Model]]
    citation: ClassVar[str]
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    pack_by: ClassVar[tuple[str, ...]] = ("batch_size",)  # the fields in which a population's members must agree
    learns_from: ClassVar[tuple[FeatureKind, ...]] = ("numbers",)  # kinds of features that it accepts
    any_text: ClassVar[str] = ""  # the assignment with which a method of `text_parts` takes any class text

    # how far class text's first outputs must move for accuracy above chance (`training/movement.py`)
    least_movement: ClassVar[float] = 0.0

    # data-parallel workers: `equal`: same results as one worker; `shares`: each worker pairs or normalises samples
    # within its own share of a batch, so that their number matters; `none`: not supported
    data_parallel: ClassVar[Literal["equal", "shares", "none"]] = "none"

    def text_parts(self, config: Any) -> tuple[str, ...]:
        """The texts of a class whose vectors, of equal width, are concatenated in its semantics.

        Such as `verb` and `noun`; the command line checks it (`setup.py`). None, the default: any semantics.
        """
        return ()

    @abstractmethod
    def population(self, members: Sequence[Member], workers: Workers) -> Population:
        """Members that agree in `pack_by`, each as its `state` says. Raises InputError where one cannot be trained."""

    def steps(self, config: Any, samples: int) -> int:
        """Optimiser steps of a whole training on so many samples; by default those of `epochs` passes over them."""
        return epochs_of(config) * -(-samples // getattr(config, "batch_size", samples))

    def restored(self, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> Model:
        """A model from its `state`; `combination`, `seen` and `unseen` are among the values."""
        return self.Model.from_state(tensors, values)

    def configure(self, values: Mapping[str, Any], preset: str | None = None) -> ScoringConfig:
        """A Config from a preset and values over it. Raises InputError naming the field that is wrong."""
        return validated(self.Config, {**self.preset_values(preset), **values})

    def preset_values(self, preset: str | None) -> dict[str, Any]:
        """The fields of a preset, or of several joined by `+`, of which a later one's values hold; none for None.

        Raises InputError where there is no such preset.
        """
        values: dict[str, Any] = {}
        for name in [] if preset is None else preset.split("+"):
            if name.strip() not in self.presets:
                wrong = f"`{name.strip()}`" if name.strip() else f"before or after a + of `{preset}`"
                raise InputError(f"no preset {wrong}; there is {', '.join(self.presets) or 'none'}")
            values |= self.presets[name.strip()]
        return values


class LearnerMethod(Method):
    """A method whose members train one by one, each by a learner of its own."""

    @abstractmethod
    def learner(self, member: Member, workers: Workers) -> Learner:
        """A member as its `state` says. Raises InputError where it cannot be trained."""

    def population(self, members: Sequence[Member], workers: Workers) -> Population:
        return LoopedPopulation([self.learner(member, workers) for member in members])


class SolvedMethod(LearnerMethod):
    """A method with a closed-form solution: it has one epoch, and no batches."""

    pack_by = ()
    data_parallel = "equal"  # each worker solves the whole problem

    @abstractmethod
    def solved(self, member: Member, device: torch.device) -> tuple[Model, Mapping[str, float]]:
        """A member's model, and its losses, such as the mean squared error."""

    def learner(self, member: Member, workers: Workers) -> Learner:
        return _Solution(*self.solved(member, workers.device))


@dataclass(frozen=True)
class _Solution(Learner):
    solution: Model
    losses: Mapping[str, float]

    def train_epoch(self) -> Mapping[str, float]:
        return self.losses

    def model(self) -> Model:
        return self.solution

    def state(self) -> Mapping[str, Tensor]:
        return {"epoch": torch.tensor(1)}


def tensors_of(state: Mapping[str, Tensor], kind: str) -> dict[str, Tensor]:
    """The tensors of a state whose names start with `kind.`, without that prefix."""
    return {name.removeprefix(f"{kind}."): t for name, t in state.items() if name.startswith(f"{kind}.")}


def load_method(name: str) -> Method:
    """The method of a module, such as `methods.sadvae`. Raises InputError where there is none."""
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and not (name == error.name or name.startswith(error.name + ".")):
            raise  # the method's module exists, but one of its imports does not
        raise InputError(f"no method `{name}`: there is no such module; try methods.sadvae") from None
    if not isinstance(getattr(module, "method", None), Method):
        raise InputError(f"`{name}` is no method: the module has no object `method` of type platform.method.Method")
    return module.method
