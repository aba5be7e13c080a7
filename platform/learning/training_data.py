"""The training samples of a population's members, on the device, and the batches that they are given."""

from collections.abc import Sequence

import torch
from torch import Tensor

from platform.method import Member
from platform.population.draws import generator, shuffled_rows


class TrainingData:
    """The members' samples on the device; members of one task share them."""

    def __init__(self, members: Sequence[Member], device: torch.device) -> None:
        tasks = {id(m.task): m.task for m in members}
        on_device = {key: task.to(device) for key, task in tasks.items()}
        self.members, self.device = members, device
        self.tasks = [on_device[id(m.task)] for m in members]
        self.features = _joined([t.features for t in on_device.values()])  # (ΣN, D)
        self.semantics = _joined([t.semantics for t in on_device.values()])  # (ΣC, T)
        masked = [t.masked for t in on_device.values()]
        self.masked = None if any(m is None for m in masked) else _joined(masked)  # (ΣN, D)
        first_row, first_class, rows, first_classes, classes = 0, 0, {}, {}, []
        for key, task in on_device.items():
            rows[key], first_classes[key] = first_row, first_class
            classes.append(task.labels + first_class)
            first_row, first_class = first_row + len(task.labels), first_class + len(task.semantics)
        self.classes = torch.cat(classes)  # (ΣN,) rows of `semantics`
        self.first_rows = [rows[id(m.task)] for m in members]
        self.first_classes = [first_classes[id(m.task)] for m in members]  # in `semantics`
        self._first_class = torch.tensor(self.first_classes, device=device)[:, None]

    def batches(
        self, epochs: Sequence[int], batch_size: int, steps: Sequence[int] | None = None
    ) -> tuple[list[int], Tensor]:
        """Each member's count of steps, and rows (longest, members, batch); a shorter member's last ones are idle.

        steps: of each member's epoch; by default those of one pass over its samples.
        """
        rows, wanted = [], steps or [None] * len(self.members)
        for member, epoch, first, count in zip(self.members, epochs, self.first_rows, wanted, strict=True):
            draw = generator(member.seed, "shuffle", epoch, device=self.device)
            rows.append(first + shuffled_rows(len(member.task.labels), batch_size, draw, count))
        steps = [len(r) for r in rows]
        idle = [r[:1].expand(max(steps) - len(r), -1) for r in rows]
        return steps, torch.stack([torch.cat(pair) for pair in zip(rows, idle, strict=True)], dim=1)

    def features_of(self, rows: Tensor) -> Tensor:
        """(members, batch, D) of rows (members, batch)."""
        return _rows_of(self.features, rows)

    def masked_of(self, rows: Tensor) -> Tensor | None:
        """(members, batch, D) of rows (members, batch), where masked features are given."""
        return None if self.masked is None else _rows_of(self.masked, rows)

    def text_of(self, rows: Tensor) -> Tensor:
        """(members, batch, T) each sample's class text. rows: (members, batch)."""
        return _rows_of(self.semantics, _rows_of(self.classes, rows))

    def labels_of(self, rows: Tensor) -> Tensor:
        """(members, batch) in 0 … S − 1 of rows (members, batch)."""
        return _rows_of(self.classes, rows) - self._first_class

    def seen_text(self) -> tuple[Tensor, Tensor]:
        """Text of the seen classes (members, S, T), zero beyond a member's own, and where these are (members, S)."""
        counts = [len(task.seen) for task in self.tasks]
        text = self.semantics.new_zeros(len(counts), max(counts), self.semantics.shape[1])
        for m, (first, count) in enumerate(zip(self.first_classes, counts, strict=True)):
            text[m, :count] = self.semantics[first : first + count]
        exist = torch.arange(max(counts), device=self.device) < torch.tensor(counts, device=self.device)[:, None]
        return text, exist


def _rows_of(tensor: Tensor, rows: Tensor) -> Tensor:
    # index_select is several times quicker here than indexing by a matrix
    return tensor.index_select(0, rows.flatten()).view(*rows.shape, *tensor.shape[1:])


def _joined(tensors: Sequence[Tensor]) -> Tensor:
    """All rows in one tensor; a single task's stay where they are, as a memory map must."""
    return tensors[0] if len(tensors) == 1 else torch.cat(tensors)
