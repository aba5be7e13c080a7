"""The contract of a method: what the platform calls, and what it gives.

A method is a module with one object `method`. The platform finds it by the module's name, so `my_lab.my_method` works
like `methods.sadvae`.
"""

import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal, Protocol, Self

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from platform.configuration import validated
from platform.datasets.contents import FeatureKind, Normalisation
from platform.errors import InputError
from platform.zeroshot.gate import Combination, GateOptions
from platform.zeroshot.steps import Steps
from platform.zeroshot.task import Task


class MethodConfig(BaseModel):
    """Base of a method's Config: frozen; one field a hyperparameter, the paper's value its default."""

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
        False, description="a soft gate joins seen probabilities at its temperature, too, or as they are (SynSE)"
    )
    gate_balanced: bool = Field(
        True, description="both sides weigh the same in the gate's regression (SA-DVAE's code), or samples do (SynSE's)"
    )
    gate_chosen_by: Literal["harmonic_mean", "accuracy"] = Field(
        "harmonic_mean",
        description="what temperature and threshold maximise on held-out samples: H, or the share of samples on their "
        "own side (SA-DVAE's code); with calibration=validated",
    )

    @property
    def gate_options(self) -> GateOptions:
        """How its gate is made; combination must be soft or hard."""
        return GateOptions(
            kind=self.combination,
            inputs=self.gate_inputs,
            temperature_scaling=self.temperature_scaling,
            tempered=self.soft_temperature,
            balanced=self.gate_balanced,
            threshold="free" if self.calibration == "carried" else "listed",
            chosen_by=self.gate_chosen_by,
        )

    @property
    def first_epoch(self) -> int:
        """The first one, from 0, after which a model is the method's own, and may be chosen."""
        return 0


# The gate of SynSE and SA-DVAE, for presets that give a paper's or a released code's values; each names its own kind.
PAPERS_GATE: Mapping[str, Any] = {
    "gate_inputs": "probabilities",
    "calibration": "validated",
}


@dataclass(frozen=True)
class Member:
    """One of a population: what to train on, how, and the seed that names its random draws.

    state: from which to go on, as `epoch_end` was given it after the member's last epoch; None at a fresh start.
    """

    task: Task
    config: Any
    seed: int
    state: Mapping[str, Tensor] | None = field(default=None, repr=False)


class Run(Protocol):
    """What a method is given beside its members."""

    device: torch.device
    rank: int  # this process among the data-parallel workers
    world_size: int

    def epoch_end(
        self,
        losses: Sequence[Mapping[str, float]],
        models: "Callable[[Sequence[int]], Sequence[Model]]",
        states: Callable[[Sequence[int]], Sequence[Mapping[str, Tensor]]],
    ) -> bool:
        """Called once after each epoch of all members; a method returns where the answer is False.

        It is then called again with whoever goes on, and perhaps others: members have their own counts of epochs, which
        stand in their states. losses: of each member; models, states: of the members asked for, as they are now.
        """

    def average(self, gradients: Sequence[Tensor]) -> Sequence[Tensor]:
        """Gradients averaged over the data-parallel workers, in place; unchanged with one worker."""


@dataclass(frozen=True)
class Model(ABC):
    """A trained model over classes numbered seen first, then unseen. Scores are log-probabilities.

    `combination` joins seen and unseen scores; the protocol fits it on pseudo-unseen classes and sets it. A method that
    scores all classes at once offers combination=joint, and `sides` then gives the two blocks of those scores.
    """

    seen: tuple[str, ...]
    unseen: tuple[str, ...]
    combination: Combination | None

    @property
    def learns_seen_classes(self) -> bool:
        """Whether its seen scores are its own and change with each epoch, so that their accuracy is worth a curve."""
        return False

    @abstractmethod
    def unseen_scores(self, x: Tensor) -> Tensor:
        """x: (N, D); gives (N, U)."""

    @abstractmethod
    def seen_scores(self, x: Tensor, logits: Tensor | None = None) -> Tensor:
        """x: (N, D), logits: (N, S) of a given classifier, for the methods that use one; gives (N, S)."""

    def latents(self, x: Tensor) -> dict[str, Tensor]:
        """Where samples lie in the method's own spaces, (N, width) each by name, for figures; none by default."""
        return {}

    def clusters(self, x: Tensor) -> dict[str, Tensor]:
        """Which of its own clusters a method puts samples into, (N,) each by name, as `before`; none by default."""
        return {}

    def steps(self, x: Tensor) -> Steps | None:
        """How a method that looks step by step recognises pictures (N, D) among the unseen classes; None by default."""
        return None

    def sides(self, x: Tensor, logits: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """What `combination` joins: (N, S) and (N, U) log-probabilities, each side's own or two blocks of one whole."""
        return self.seen_scores(x, logits), self.unseen_scores(x)

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

    def scores(self, x: Tensor, logits: Tensor | None = None) -> Tensor:
        """(N, C) over all classes, whose largest is the decision. x: (N, D). Raises where no combination is set."""
        return self._combination().scores(*self.sides(x, logits))

    def curve_scores(self, x: Tensor, logits: Tensor | None = None) -> Tensor:
        """(N, C) scores with a margin at every sample, from which the seen-unseen curve is drawn."""
        return self._combination().curve_scores(*self.sides(x, logits))

    def joined_by(self, combination: Combination) -> Self:
        return replace(self, combination=combination)

    def _combination(self) -> Combination:
        if self.combination is None:
            raise InputError("this model joins no seen and unseen scores: it was trained without the gate's stage")
        return self.combination


class Method(ABC):
    """What a method's module offers as `method`."""

    Config: ClassVar[type[MethodConfig]]
    Model: ClassVar[type[Model]]
    citation: ClassVar[str]
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    pack_by: ClassVar[tuple[str, ...]] = ("batch_size",)  # the fields in which a population cannot differ
    learns_from: ClassVar[tuple[FeatureKind, ...]] = ("numbers",)  # kinds of features that a task may have
    any_text: ClassVar[str] = ""  # the assignment with which a method of `text_parts` takes any class text

    # how far class text's first outputs must be able to move for a model to leave chance (`training/movement.py`)
    least_movement: ClassVar[float] = 0.0

    def text_parts(self, config: Any) -> tuple[str, ...]:
        """The texts of a class whose vectors, as wide as each other, stand one after the other in its semantics.

        Such as `verb` and `noun`; the verbs see to it (options.check_text). None, the default: any semantics will do.
        """
        return ()

    @abstractmethod
    def fit_population(self, members: Sequence[Member], run: Run) -> None:
        """Train the members side by side, calling `run.epoch_end` after each epoch until it answers False."""

    def steps(self, config: Any, samples: int) -> int:
        """Optimiser steps of a whole training on so many samples; by default those of `epochs` passes over them."""
        return config.epochs * -(-samples // config.batch_size)

    def configure(self, values: Mapping[str, Any], preset: str | None = None) -> MethodConfig:
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


def load_method(name: str) -> Method:
    """The method of a module, such as `methods.sadvae`. Raises InputError where there is none."""
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and not (name == error.name or name.startswith(error.name + ".")):
            raise  # the method's own module exists, and something that it imports does not
        raise InputError(f"no method `{name}`: there is no such module; try methods.sadvae") from None
    if not isinstance(getattr(module, "method", None), Method):
        raise InputError(f"`{name}` is no method: the module has no object `method` of type platform.method.Method")
    return module.method
