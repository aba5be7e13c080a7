"""A saved model with samples prepared as its training samples were: those to test on, and a few to learn from."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from platform.datasets.class_spelling import positions
from platform.datasets.encoded_frames import EncodedFrames
from platform.datasets.folder import Dataset
from platform.errors import InputError, InputWarning
from platform.method import Model
from platform.training.devices import device_of
from platform.training.saved_models import load_model
from platform.zeroshot.normaliser import Normaliser
from platform.zeroshot.problem import ProblemOptions, class_semantics_of, references_of, rows_of
from platform.zeroshot.task import Samples, Task

_NAMED = 5  # classes that are left out


def model_and_samples(
    folder: Path, dataset: Path | None = None, split: str | None = None, device: str = "auto"
) -> tuple[Model, Samples, dict]:
    """The model of a folder, the test samples of a data folder, and the model's record with the tested problem.

    dataset, split: the model's own by default; with another split the model is given that split's unseen classes.
    device: of the model and the samples, as for `device_of`. Raises InputError where one of those classes was trained
    on, or the samples do not fit.
    """
    opened = _Opened.of(folder, dataset, split, device)
    model, data, labels = opened.model, opened.data, opened.labels
    rows = data.test_rows(labels, len(model.seen), opened.problem.unseen_test)
    features = opened.features(rows)
    for side, count in (
        ("seen", (labels[rows] < len(model.seen)).sum()),
        ("unseen", (labels[rows] >= len(model.seen)).sum()),
    ):
        if not count:
            raise InputError(f"{data.folder}: no test sample of a class that is {side} for this model")
    logits = None
    if data.logits is not None:
        columns = [data.class_names.index(name) for name in model.seen if name in data.class_names]
        logits = torch.from_numpy(data.logits[rows][:, columns])
    ids = data.ids.take(rows).to_pylist()
    samples = Samples(features, torch.from_numpy(labels[rows]), logits, references_of(data, rows), ids)
    return model, samples.to(device_of(device)), opened.record


def model_and_unseen(
    folder: Path, dataset: Path | None = None, split: str | None = None, device: str = "auto"
) -> tuple[Model, Task, Samples, dict]:
    """The model of a folder, the training samples of its unseen classes, their samples of the test partition alone, and
    the record.

    The training samples are a task whose seen classes are the model's unseen ones; on the CPU, while the test samples
    are on the device. Arguments and errors as `model_and_samples` has them; a class without test samples is one.
    """
    opened = _Opened.of(folder, dataset, split, device)
    model, data, first = opened.model, opened.data, len(opened.model.seen)
    of_unseen, labels = opened.labels >= first, opened.labels
    training, testing = np.flatnonzero(of_unseen & data.train), np.flatnonzero(of_unseen & ~data.train)
    for number, name in enumerate(model.unseen):
        if not (labels[testing] == first + number).any():
            raise InputError(f"{data.folder}: class `{name}` has no sample in the test partition")
    pool = Task(
        seen=model.unseen,
        unseen=(),
        features=opened.features(training),
        labels=torch.from_numpy(labels[training] - first),
        semantics=class_semantics_of(data, opened.problem, model.unseen),
    )
    samples = Samples(opened.features(testing), torch.from_numpy(labels[testing]))
    return model, pool, samples.to(device_of(device)), opened.record


@dataclass(frozen=True)
class _Opened:
    """A model, the data folder that it is tested on, and (N,) labels by its classes' numbers, −1 of other classes."""

    model: Model
    data: Dataset
    problem: ProblemOptions
    labels: np.ndarray
    normaliser: Normaliser
    record: dict

    @classmethod
    def of(cls, folder: Path, dataset: Path | None, split: str | None, device: str) -> "_Opened":
        model, record = load_model(folder, device_of(device))
        asked = ProblemOptions.of_record(record["problem"])
        asked = asked.model_copy(update={"dataset": dataset or asked.dataset, "split": split or asked.split})
        data = Dataset(asked.dataset)
        unseen = data.split(asked.split).unseen
        for name, place in zip(unseen, positions(unseen, model.seen), strict=True):
            if place is not None:
                known = f"`{model.seen[place]}`" if model.seen[place] != name else "it"
                raise InputError(
                    f"split `{asked.split}`: class `{name}` is unseen there, but the model was trained on {known}"
                )
        if set(unseen) != set(model.unseen):
            model = model.with_classes(unseen, class_semantics_of(data, asked, unseen))
        labels = _numbers(data, [*model.seen, *model.unseen])[data.labels]
        dimension = data.card.features[data.feature_set(asked.features)].dimension
        normaliser = Normaliser.from_record(record["normaliser"])
        if dimension != len(normaliser.shift):
            have = f"features have {dimension} dimensions, the model {len(normaliser.shift)}"
            raise InputError(f"{asked.dataset}: {have}")
        return cls(model, data, asked, labels, normaliser, {**record, "problem": asked.model_dump(mode="json")})

    def features(self, rows: np.ndarray) -> torch.Tensor | EncodedFrames:
        """Of some samples, normalised as the model's training samples were."""
        return self.normaliser(rows_of(self.data.features(self.problem.features), rows))


def _numbers(data: Dataset, classes: Sequence[str]) -> np.ndarray:
    """(C,) the place of each class of the data among the model's classes, however spelled; −1 where it is none of them.

    Classes with samples that are none of the model's are reported. Raises InputError where two are the same one.
    """
    found = positions(data.class_names, classes)
    first: dict[int, str] = {}
    for name, place in zip(data.class_names, found, strict=True):
        if place is not None and first.setdefault(place, name) != name:
            raise InputError(
                f"{data.folder}: classes `{first[place]}` and `{name}` are both the model's `{classes[place]}`"
            )
    counts = np.bincount(data.labels, minlength=len(found))
    others = [i for i, place in enumerate(found) if place is None and counts[i]]
    if others:
        names = ", ".join(data.class_names[i] for i in others[:_NAMED]) + (", …" if len(others) > _NAMED else "")
        warnings.warn(
            f"{data.folder}: {counts[others].sum()} samples of {len(others)} classes that the model does not know are "
            f"left out: {names}",
            InputWarning,
            stacklevel=3,
        )
    return np.array([-1 if place is None else place for place in found])
