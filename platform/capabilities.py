"""Optional capabilities of methods, as Protocols that their users check for."""

from collections.abc import Mapping
from typing import Any, Protocol, Self, TypeVar, runtime_checkable

from torch import Tensor

from platform.datasets.encoded_frames import EncodedFrames
from platform.workers import Workers
from platform.zeroshot.caption_attention import CaptionAttention
from platform.zeroshot.steps import Steps
from platform.zeroshot.task import Samples, Task

_Model = TypeVar("_Model")


@runtime_checkable
class Clustering(Protocol):
    """A model with clusters of its own (CLASTER)."""

    def clusters(self, x: Tensor) -> dict[str, Tensor]:
        """Which cluster each sample is in, (N,) by name, as `before` and `after` training; empty where it has none."""


@runtime_checkable
class Stepwise(Protocol):
    """A model that looks at a sample step by step (ERPCNet)."""

    def steps(self, x: Tensor) -> Steps | None:
        """Its steps on pictures (N, D) among the unseen classes; None where it is configured to look once."""


@runtime_checkable
class TakesLogits(Protocol):
    """A model whose seen scores may be those of a given classifier, as the feature extractor's own (SynSE)."""

    def given(self, logits: Tensor) -> Self:
        """The same model, for samples whose given classifier has these logits (N, S) over the seen classes."""


@runtime_checkable
class Captioning(Protocol):
    """A model that describes a sample in words (ReGen)."""

    def captions(self, x: EncodedFrames) -> list[str]:
        """A caption of each clip."""


@runtime_checkable
class Attending(Protocol):
    """A model that tells what the words of its captions attended to (ReGen, Fig. 3)."""

    def attention(self, x: EncodedFrames) -> list[CaptionAttention]:
        """That of each clip's caption."""


@runtime_checkable
class Staged(Protocol):
    """A Config of a method whose first epochs prepare what the later ones train (ERPCNet)."""

    @property
    def first_epoch(self) -> int:
        """The first epoch, from 0, whose model is that of the complete method and may be chosen."""


@runtime_checkable
class FewShot(Protocol):
    """A method whose trained models can go on from a few samples of their unseen classes (ReGen, Table 6)."""

    def adapted(self, model: Any, shots: Task, values: Mapping[str, Any], seed: int, workers: Workers) -> Any:
        """The model after it has learned from `shots`: the same classes, other weights; `model` stays as it is.

        shots: a task whose seen classes are the model's unseen ones, in their order, and that has no unseen ones;
        values: fields of the method's Config that differ from the trained configuration's. Raises InputError where one
        is wrong, or the training diverges.
        """


def clusters_of(model: Any, x: Tensor) -> dict[str, Tensor]:
    """The clusters of a `Clustering` model; empty for any other."""
    return model.clusters(x) if isinstance(model, Clustering) else {}


def steps_of(model: Any, x: Tensor) -> Steps | None:
    """The steps of a `Stepwise` model; None for any other."""
    return model.steps(x) if isinstance(model, Stepwise) else None


def model_for(model: _Model, samples: Samples) -> _Model:
    """The model that scores these samples: a `TakesLogits` model with their logits; itself where there are none."""
    return model if samples.logits is None or not isinstance(model, TakesLogits) else model.given(samples.logits)


def captions_of(model: Any, x: Tensor | EncodedFrames) -> list[str] | None:
    """The captions of a `Captioning` model; None for any other."""
    return model.captions(x) if isinstance(model, Captioning) else None


def attention_of(model: Any, x: Tensor | EncodedFrames) -> list[CaptionAttention] | None:
    """The attention of an `Attending` model's captions; None for any other."""
    return model.attention(x) if isinstance(model, Attending) else None


def first_epoch_of(config: Any) -> int:
    """The first epoch of a `Staged` Config; 0 for any other."""
    return config.first_epoch if isinstance(config, Staged) else 0
