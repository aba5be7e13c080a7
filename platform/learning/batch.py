"""What a training step of stated losses is given."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from platform.learning.training_data import TrainingData


class MemberFields:
    """Fields of the Config in which the members of a population may differ, asked for in the middle of a loss."""

    def __init__(self, configs: Sequence[Any], device: torch.device) -> None:
        self.configs, self.device = configs, device
        self._masks: dict[tuple[str, Any], Tensor] = {}
        self._numbers: dict[str, Tensor] = {}

    def number(self, field: str) -> Tensor:
        """(…,) each member's value."""
        if field not in self._numbers:
            self._numbers[field] = torch.tensor([getattr(c, field) for c in self.configs], device=self.device)
        return self._numbers[field]

    def chosen(self, field: str, cases: Mapping[Any, Tensor | Callable[[], Tensor]]) -> Tensor:
        """What the field's value of each member asks for, (…, batch, width) or (…,); only what some member wants."""
        values = [getattr(config, field) for config in self.configs]
        wanted = [value for value in cases if value in values]
        first, *others = wanted
        found = _of(cases[first])
        for value in others:
            other = _of(cases[value])
            mask = self._mask(field, value, values)
            found = torch.where(mask.view(-1, *(1,) * (other.dim() - 1)), other, found)
        return found

    def _mask(self, field: str, value: Any, values: Sequence[Any]) -> Tensor:
        if (field, value) not in self._masks:
            self._masks[field, value] = torch.tensor([own == value for own in values], device=self.device)
        return self._masks[field, value]


def _of(case: Tensor | Callable[[], Tensor]) -> Tensor:
    return case() if callable(case) else case


@dataclass(frozen=True)
class SeenClasses:
    """All seen classes. text: (…, S, T), zero beyond a member's own; exist: (…, S) bool, where these are.

    made: what the method's `of_classes` made of them, once.
    """

    text: Tensor
    exist: Tensor
    made: Mapping[str, Tensor]


@dataclass(frozen=True)
class Batch:
    """A batch of a member's samples, or of each member's of a population.

    rows: (…, B) of `data`.
    seen: for a method that `reads_classes`.
    noise: (…, B, width), standard normal draws of all parts that the method names; None where it draws nothing.
    order: (…, B), a permutation of the batch; None alike.
    beside: noise and order of other draws, by purpose.
    widths: of the parts of layers.
    config: any member's, for the fields of `pack_by`; fields: for the fields in which members may differ.
    wanted: the occasional losses whose weight is above zero for some member.
    """

    data: TrainingData
    rows: Tensor
    seen: SeenClasses | None
    noise: Tensor | None
    order: Tensor | None
    beside: Mapping[str, tuple[Tensor, Tensor]]
    widths: Mapping[str, int]
    config: Any
    fields: MemberFields
    wanted: frozenset[str]

    @cached_property
    def x(self) -> Tensor:
        """(…, B, D) features."""
        return self.data.features_of(self.rows)

    @cached_property
    def text(self) -> Tensor:
        """(…, B, T) the text of each sample's class."""
        return self.data.text_of(self.rows)

    @cached_property
    def labels(self) -> Tensor:
        """(…, B) in 0 … S − 1."""
        return self.data.labels_of(self.rows)

    @cached_property
    def masked(self) -> Tensor | None:
        """(…, B, D) features of the same clips with frames masked, where they are given."""
        return self.data.masked_of(self.rows)
