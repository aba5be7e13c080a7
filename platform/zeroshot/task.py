"""A task: what a method may see. It holds no sample of an unseen class, so no method can leak one."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from platform.datasets.encoded_frames import EncodedFrames
from platform.datasets.encoded_pictures import EncodedPictures
from platform.errors import InputError
from platform.population.draws import generator

_FEWEST_GROUPS = 3  # with fewer, holding a group out would cost too much training data


@dataclass(frozen=True, eq=False)  # compared by identity, so that fits on it can be cached
class Task:
    """Training samples of the seen classes, and the semantics of all classes.

    Classes are numbered seen first, then unseen: S seen, U unseen, C = S + U.
    features: (N, D) float32, uint8 where they are pictures of 3 · side · side pixels, or encoded pictures or videos;
    labels: (N,) int64 in 0 … S − 1; semantics: (C, T) float32; groups: (N,) subject or scene, or None.
    Two more that a data folder may bring, None where it does not. logits: (N, S) of a given seen-class classifier, a
    row of NaN where a sample has none; a model of the capability `TakesLogits` reads them. masked: (N, D) features of
    the same clips with frames left out; a loss reads them as `batch.masked`, and no model does.
    """

    seen: tuple[str, ...]
    unseen: tuple[str, ...]
    features: Tensor | EncodedFrames
    labels: Tensor
    semantics: Tensor
    logits: Tensor | None = None
    groups: Tensor | None = None
    masked: Tensor | None = None

    def samples(self) -> "Samples":
        """Its training samples, labelled."""
        return Samples(self.features, self.labels, self.logits)

    def to(self, device: torch.device) -> "Task":
        """The same task on a device; groups stay on the CPU, since they only serve to hold samples out."""
        return replace(
            self,
            features=self.features.to(device),
            labels=self.labels.to(device),
            semantics=self.semantics.to(device),
            logits=None if self.logits is None else self.logits.to(device),
            masked=None if self.masked is None else self.masked.to(device),
        )


@dataclass(frozen=True)
class Samples:
    """Labelled samples to score: features as a task's, labels (N,) in 0 … C − 1, logits (N, S) or None, and references:
    captions of each sample to measure a model's against, an empty list where it has none; None where no sample has.
    ids: the samples' names in the data folder, None of samples that are in none.

    `platform.capabilities.model_for` gives the logits to a model of the capability `TakesLogits`.
    """

    features: Tensor | EncodedFrames
    labels: Tensor
    logits: Tensor | None = None
    references: Sequence[Sequence[str]] | None = None
    ids: Sequence[str] | None = None

    def to(self, device: torch.device) -> "Samples":
        logits = None if self.logits is None else self.logits.to(device)
        return replace(self, features=self.features.to(device), labels=self.labels.to(device), logits=logits)

    def where(self, mask: Tensor) -> "Samples":
        """The samples at which mask (N,) is true."""
        logits = None if self.logits is None else self.logits[mask]
        told = [
            own and [one for one, chosen in zip(own, mask.tolist(), strict=True) if chosen]
            for own in (self.references, self.ids)
        ]
        return Samples(self.features[mask], self.labels[mask], logits, *told)


def picture_side(features: Tensor | EncodedFrames) -> int | None:
    """Pixels along the edge of a task's pictures, encoded or (N, 3 · S · S) uint8; None where they are none."""
    if isinstance(features, EncodedFrames):
        return features.side if isinstance(features, EncodedPictures) else None
    side = round((features.shape[1] / 3) ** 0.5)
    return side if features.dtype == torch.uint8 and 3 * side**2 == features.shape[1] else None


def pictures_of(features: Tensor | EncodedFrames, rows: Tensor | slice) -> Tensor | None:
    """(n, 3, S, S) uint8, some rows of a task's features, decoded where they are encoded; None as `picture_side`."""
    if (side := picture_side(features)) is None:
        return None
    if isinstance(features, EncodedPictures):
        return features.decoded(rows)
    return features[rows].view(-1, 3, side, side)


def hold_out(
    task: Task, pseudo_unseen: Sequence[str], seen_fraction: float, draw: torch.Generator
) -> tuple[Task, Samples]:
    """A smaller task whose unseen classes are `pseudo_unseen`, some of the seen classes, and samples to score.

    Without them the unseen classes stay the task's own, of which there is no sample. The scored samples are every
    training sample of the pseudo-unseen classes, and `seen_fraction` of the others: whole groups where there are some,
    since a subject that was trained on is recognised too easily; else a share of each class. Raises InputError where a
    name is not a seen class or none would stay.
    """
    unknown = sorted(set(pseudo_unseen) - set(task.seen))
    if unknown:
        raise InputError(f"pseudo-unseen class `{unknown[0]}` is not among the seen classes")
    held = [i for i, name in enumerate(task.seen) if name in set(pseudo_unseen)]
    kept = [i for i in range(len(task.seen)) if i not in set(held)]
    if len(kept) < 2:
        raise InputError(f"{len(held)} pseudo-unseen of {len(task.seen)} seen classes; at least two must stay seen")
    order = kept + held
    renumbered = torch.empty(len(task.seen), dtype=torch.long)
    renumbered[torch.tensor(order)] = torch.arange(len(order))
    described = order if held else order + list(range(len(task.seen), len(task.semantics)))
    labels = renumbered[task.labels]

    scored = (labels >= len(kept)) | _held_out_seen(task, labels, len(kept), seen_fraction, draw)
    logits = None if task.logits is None else task.logits[:, kept]
    smaller = Task(
        seen=tuple(task.seen[i] for i in kept),
        unseen=tuple(task.seen[i] for i in held) or task.unseen,
        features=task.features[~scored],
        labels=labels[~scored],
        semantics=task.semantics[torch.tensor(described)],
        logits=None if logits is None else logits[~scored],
        groups=None if task.groups is None else task.groups[~scored],
        masked=None if task.masked is None else task.masked[~scored],
    )
    return smaller, Samples(task.features[scored], labels[scored], None if logits is None else logits[scored])


def draw_pseudo_unseen(task: Task, fold: int, seed: int) -> list[str]:
    """As many seen classes as there are unseen ones, but at most half of the seen classes, drawn at random.

    Folds share no class until the seen classes are used up; then they are shuffled again.
    """
    count = min(len(task.unseen), len(task.seen) // 2)
    shuffle, place = divmod(fold, len(task.seen) // count)
    order = torch.randperm(len(task.seen), generator=generator(seed, "pseudo-unseen", shuffle))
    return [task.seen[i] for i in sorted(order[place * count : (place + 1) * count].tolist())]


def _held_out_seen(task: Task, labels: Tensor, classes: int, fraction: float, draw: torch.Generator) -> Tensor:
    """(N,) True at the held-out samples of classes 0 … classes − 1; every class keeps a sample on either side."""
    groups = torch.unique(task.groups) if task.groups is not None else torch.empty(0)
    if len(groups) >= _FEWEST_GROUPS:
        count = max(1, round(fraction * len(groups)))
        chosen = groups[torch.randperm(len(groups), generator=draw)[:count]]
        held = torch.isin(task.groups, chosen) & (labels < classes)
        sizes = torch.bincount(labels[labels < classes], minlength=classes)
        taken = torch.bincount(labels[held], minlength=classes)
        if ((taken > 0) & (taken < sizes)).all():
            return held
    held = torch.zeros(len(labels), dtype=torch.bool)
    for label in range(classes):
        rows = torch.nonzero(labels == label).flatten()
        count = min(max(1, round(fraction * len(rows))), len(rows) - 1)
        held[rows[torch.randperm(len(rows), generator=draw)[:count]]] = True
    return held
