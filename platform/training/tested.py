"""A saved model with test samples prepared as its training samples were."""

from pathlib import Path

import numpy as np
import torch

from platform.datasets.folder import Dataset
from platform.errors import InputError
from platform.method import Model
from platform.training.devices import device_of
from platform.training.saved_models import load_model
from platform.zeroshot.normaliser import Normaliser
from platform.zeroshot.problem import ProblemOptions, class_semantics_of, references_of, rows_of
from platform.zeroshot.task import Samples


def model_and_samples(
    folder: Path, dataset: Path | None = None, split: str | None = None, device: str = "auto"
) -> tuple[Model, Samples, dict]:
    """The model of a folder, the test samples of a data folder, and the model's record with the tested problem.

    dataset, split: the model's own by default; with another split the model is given that split's unseen classes.
    device: of the model and the samples, as for `device_of`. Raises InputError where one of those classes was trained
    on, or the samples do not fit.
    """
    place = device_of(device)
    model, record = load_model(folder, place)
    asked = ProblemOptions.of_record(record["problem"])
    asked = asked.model_copy(update={"dataset": dataset or asked.dataset, "split": split or asked.split})
    opened = Dataset(asked.dataset)
    unseen = opened.split(asked.split).unseen
    if trained_on := sorted(set(unseen) & set(model.seen)):
        raise InputError(
            f"split `{asked.split}`: class `{trained_on[0]}` is unseen there, but the model was trained on it"
        )
    if set(unseen) != set(model.unseen):
        model = model.with_classes(unseen, class_semantics_of(opened, asked, unseen))
    number = {name: i for i, name in enumerate([*model.seen, *model.unseen])}
    labels = np.array([number.get(name, -1) for name in opened.class_names])[opened.labels]
    rows = opened.test_rows(labels, len(model.seen), asked.unseen_test)
    dimension = opened.card.features[opened.feature_set(asked.features)].dimension
    normaliser = Normaliser.from_record(record["normaliser"])
    if dimension != len(normaliser.shift):
        raise InputError(f"{asked.dataset}: features have {dimension} dimensions, the model {len(normaliser.shift)}")
    features = rows_of(opened.features(asked.features), rows)
    for side, count in (
        ("seen", (labels[rows] < len(model.seen)).sum()),
        ("unseen", (labels[rows] >= len(model.seen)).sum()),
    ):
        if not count:
            raise InputError(f"{asked.dataset}: no test sample of a class that is {side} for this model")
    logits = None
    if opened.logits is not None:
        columns = [opened.class_names.index(name) for name in model.seen if name in opened.class_names]
        logits = torch.from_numpy(opened.logits[rows][:, columns])
    samples = Samples(normaliser(features), torch.from_numpy(labels[rows]), logits, references_of(opened, rows))
    return model, samples.to(place), {**record, "problem": asked.model_dump(mode="json")}
