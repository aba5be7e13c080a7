"""Ensembles: the mean of the models' probabilities, each on features normalised as in its training."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import torch
from torch import Tensor

from platform.capabilities import TakesLogits
from platform.method import Model, load_method
from platform.training.protocols import HeldOut
from platform.zeroshot.normaliser import Normaliser


@dataclass(frozen=True)
class Ensemble(Model):
    """Models of one method over the same classes; scores are the logarithm of their probabilities' mean.

    normalisers: of each part; an ensemble is given features as the data folder has them.
    """

    method: str  # the module's name
    parts: tuple[Model, ...] = field(repr=False)
    normalisers: tuple[Normaliser, ...] = field(repr=False)

    @classmethod
    def of(cls, method: str, parts: Sequence[Model], normalisers: Sequence[Normaliser]) -> Self:
        return cls(parts[0].seen, parts[0].unseen, None, method, tuple(parts), tuple(normalisers))

    def unseen_scores(self, x: Tensor) -> Tensor:
        return mean_probability([part.unseen_scores(own) for part, own in self._each(x)])

    def seen_scores(self, x: Tensor) -> Tensor:
        return mean_probability([part.seen_scores(own) for part, own in self._each(x)])

    def sides(self, x: Tensor) -> tuple[Tensor, Tensor]:
        seen, unseen = zip(*(part.sides(own) for part, own in self._each(x)), strict=True)
        return mean_probability(seen), mean_probability(unseen)

    def given(self, logits: Tensor) -> Self:
        """With the logits handed to each part that takes some."""
        parts = (part.given(logits) if isinstance(part, TakesLogits) else part for part in self.parts)
        return replace(self, parts=tuple(parts))

    def _each(self, x: Tensor) -> list[tuple[Model, Tensor]]:
        return [(part, normaliser(x)) for part, normaliser in zip(self.parts, self.normalisers, strict=True)]

    def with_classes(self, names: Sequence[str], semantics: Tensor) -> Self:
        parts = tuple(part.with_classes(names, semantics) for part in self.parts)
        return replace(self, unseen=tuple(names), parts=parts)

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        states = [part.state() for part in self.parts]
        tensors = {f"{i}.{name}": tensor for i, (own, _) in enumerate(states) for name, tensor in own.items()}
        normalisers = [normaliser.record() for normaliser in self.normalisers]
        return tensors, {"method": self.method, "parts": [values for _, values in states], "normalisers": normalisers}

    @classmethod
    def from_state(cls, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> Self:
        method, common = load_method(values["method"]), {k: values[k] for k in ("seen", "unseen")}
        parts = []
        for i, own in enumerate(values["parts"]):
            mine = {n.removeprefix(f"{i}."): t for n, t in tensors.items() if n.startswith(f"{i}.")}
            parts.append(method.restored(mine, {**own, **common, "combination": None}))
        normalisers = tuple(Normaliser.from_record(record) for record in values["normalisers"])
        return cls(values["seen"], values["unseen"], values["combination"], values["method"], tuple(parts), normalisers)


def held_out_together(several: Sequence[Sequence[HeldOut]]) -> list[HeldOut]:
    """An ensemble's scores of each fold's held-out samples, from those of its parts."""
    together = []
    for parts in zip(*several, strict=True):
        seen, unseen = (mean_probability([part[side] for part in parts]) for side in (0, 1))
        together.append((seen, unseen, parts[0][2]))
    return together


def mean_probability(scores: Sequence[Tensor]) -> Tensor:
    """The logarithm of the mean of probabilities, from log-probabilities of the same shape."""
    return torch.logsumexp(torch.stack(list(scores)), dim=0) - math.log(len(scores))
