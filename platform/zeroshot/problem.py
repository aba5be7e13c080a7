"""Makes a task from a data folder, with its separate test samples and the folds to validate on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field

from platform.datasets.contents import ClassSplit, Normalisation, UnseenTest
from platform.datasets.encoded_frames import EncodedFrames
from platform.datasets.folder import Dataset
from platform.datasets.text import ClassText, class_semantics
from platform.errors import InputError
from platform.population.draws import generator
from platform.zeroshot.normaliser import Normaliser
from platform.zeroshot.task import Samples, Task, draw_pseudo_unseen, hold_out


class ProblemOptions(BaseModel):
    """The data, split, features and class text of a problem."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: Path
    split: str
    features: str | None = Field(None, description="feature set; the card's first by default")
    text: ClassText = ClassText()
    masked_features: str | None = Field(None, description="feature set of the same clips with frames left out (SMIE)")
    unseen_test: UnseenTest | None = Field(
        None,
        description="samples of unseen classes to test: all, or the test partition's; as the card says if absent",
    )

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> "ProblemOptions":
        """From a saved model's record; `normalise` in earlier ones is ignored: the fitted normaliser is saved."""
        return cls(**{name: value for name, value in record.items() if name != "normalise"})

    def on(self, split: str) -> "ProblemOptions":
        """The same on another class split."""
        return self.model_copy(update={"split": split})


@dataclass(frozen=True)
class Fold:
    """One validation task with its samples to score, and the normaliser that was fitted on its training samples."""

    task: Task
    samples: Samples
    normaliser: Normaliser


@dataclass(frozen=True)
class Problem:
    """A task, its test samples, and what validation needs. Features are raw: each fold fits its own normaliser.

    normalise: the card's choice, for configurations with `auto`.
    """

    task: Task
    test: Samples
    normalise: Normalisation
    published_folds: Sequence[Sequence[str]]
    separate_validation: "tuple[Task, Samples] | None"  # from an extractor that never saw the pseudo-unseen classes

    def final(self, normalise: Normalisation | Literal["auto"] = "auto") -> Fold:
        """All seen training samples, and the test samples."""
        return self._normalised(self.task, self.test, normalise)

    def validation_folds(
        self, count: int, seen_fraction: float, seed: int, normalise: Normalisation | Literal["auto"] = "auto"
    ) -> list[Fold]:
        """Folds that hold no unseen class: published, or drawn by `seed`.

        Where there are separate validation features, they are the only fold: the other extractor saw all seen classes.
        """
        folds = [self.separate_validation] if self.separate_validation else []
        for index in range(count if self.separate_validation is None else 0):
            draw = generator(seed, "fold", index)
            published = index < len(self.published_folds)
            names = self.published_folds[index] if published else draw_pseudo_unseen(self.task, index, seed)
            folds.append(hold_out(self.task, names, seen_fraction, draw))
        return [self._normalised(task, samples, normalise) for task, samples in folds]

    def held_out(self, seen_fraction: float, seed: int, normalise: Normalisation | Literal["auto"]) -> Fold | None:
        """All seen classes on fewer samples, and the held-out samples, for recalibration.

        None with separate validation features: the extractor was trained on all of these samples.
        """
        if self.separate_validation is not None:
            return None
        smaller, samples = hold_out(self.task, (), seen_fraction, generator(seed, "held-out seen"))
        return self._normalised(smaller, samples, normalise)

    def _normalised(self, task: Task, samples: Samples, normalise: Normalisation | Literal["auto"]) -> Fold:
        normaliser = Normaliser.fit(self.normalise if normalise == "auto" else normalise, task.features)
        return Fold(*normaliser.apply(task, samples), normaliser)


def load_problem(options: ProblemOptions) -> Problem:
    """Read a problem from its data folder.

    Raises InputError where the split leaves nothing to train or test on.
    """
    dataset = Dataset(options.dataset)
    card = dataset.card.features[dataset.feature_set(options.features)]
    split = dataset.split(options.split)
    task, test = _task(dataset, split, options)
    separate = None
    if dataset.validation is not None:
        separate = _task(dataset.validation, dataset.validation.split("given"), options)
        if {*separate[0].seen, *separate[0].unseen} & set(task.unseen):
            separate = None  # it was made for another class split
    return Problem(task, test, card.normalise, split.pseudo_unseen, separate)


def class_semantics_of(dataset: Dataset, options: ProblemOptions, names: Sequence[str]) -> torch.Tensor:
    """(len(names), T) semantics of some of a data set's classes, as `options` says."""
    rows = [dataset.class_names.index(name) for name in names]
    return torch.from_numpy(class_semantics(dataset, options.text)[rows]).float()


def _task(dataset: Dataset, split: ClassSplit, options: ProblemOptions) -> tuple[Task, Samples]:
    unseen = set(split.unseen)
    seen_classes = [i for i, name in enumerate(dataset.class_names) if name not in unseen]
    occurring = set(np.unique(dataset.labels[dataset.train]).tolist())
    seen_classes = [i for i in seen_classes if i in occurring]
    unseen_classes = [dataset.class_names.index(name) for name in split.unseen]
    order = np.array(seen_classes + unseen_classes)
    number = np.full(len(dataset.class_names), -1)
    number[order] = np.arange(len(order))
    labels = number[dataset.labels]

    training = np.flatnonzero(dataset.train & (labels >= 0) & (labels < len(seen_classes)))
    testing = dataset.test_rows(labels, len(seen_classes), options.unseen_test)
    where = f"{dataset.folder}: split `{options.split}`"
    if len(seen_classes) < 2:
        raise InputError(f"{where} leaves {len(seen_classes)} seen classes with training samples; two are needed")
    if not (labels[testing] >= len(seen_classes)).any():
        raise InputError(f"{where} has no test sample of an unseen class")
    if not (labels[testing] < len(seen_classes)).any():
        raise InputError(f"{where} has no test sample of a seen class")

    features = dataset.features(options.features)
    names = [dataset.class_names[i] for i in order]
    logits = None if dataset.logits is None else dataset.logits[:, seen_classes]
    task = Task(
        seen=tuple(names[: len(seen_classes)]),
        unseen=tuple(names[len(seen_classes) :]),
        features=rows_of(features, training),
        labels=torch.from_numpy(labels[training]),
        semantics=class_semantics_of(dataset, options, names),
        logits=None if logits is None else torch.from_numpy(logits[training]),
        groups=torch.from_numpy(dataset.groups[training]) if (dataset.groups >= 0).all() else None,
        masked=_masked(dataset, options, training),
    )
    test = Samples(
        features=rows_of(features, testing),
        labels=torch.from_numpy(labels[testing]),
        logits=None if logits is None else torch.from_numpy(logits[testing]),
        references=references_of(dataset, testing),
        ids=dataset.ids.take(testing).to_pylist(),
    )
    return task, test


def references_of(dataset: Dataset, rows: np.ndarray) -> list[list[str]] | None:
    """Captions of some samples that a model's are measured against; None where the folder has none."""
    references = dataset.references
    return None if references is None else [references[row] for row in rows]


def _masked(dataset: Dataset, options: ProblemOptions, rows: np.ndarray) -> torch.Tensor | EncodedFrames | None:
    """(N, D) masked features of some samples, if requested. Raises InputError where they are no such features."""
    if options.masked_features is None:
        return None
    sets, named = dataset.card.features, dataset.feature_set(options.features)
    masked = dataset.feature_set(options.masked_features)
    if sets[masked].dimension != sets[named].dimension:
        have, needed = sets[masked].dimension, sets[named].dimension
        raise InputError(f"--masked-features {masked}: {have} dimensions, but `{named}` has {needed}")
    if sets[masked].kind != sets[named].kind:
        raise InputError(f"--masked-features {masked}: {sets[masked].kind}, but `{named}` is {sets[named].kind}")
    return rows_of(dataset.features(masked), rows)


def rows_of(features: np.ndarray | EncodedFrames, rows: np.ndarray) -> torch.Tensor | EncodedFrames:
    """A copy of some rows, or a view where they are encoded frames."""
    chosen = features[rows]
    return chosen if isinstance(chosen, EncodedFrames) else torch.from_numpy(chosen)
