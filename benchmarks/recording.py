"""What models say of held-out and test samples after every epoch, on many class splits: what rules of choosing see."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from platform.datasets.folder import write_dataset
from platform.datasets.readers import ImportOptions, read
from platform.datasets.simulator import simulate
from platform.datasets.text import ClassText
from platform.method import Member, Method, Model, load_method
from platform.training.fitting import Course, Fitting
from platform.zeroshot.metrics import accuracy_by_class
from platform.zeroshot.problem import Problem, ProblemOptions, load_problem

FOLDS, SEEDS = 4, (0, 1)
SPLITS = {
    "UTD-MHAD": ("ru5", "ru9", "ru13", "random:5:1", "random:5:2", "random:9:1", "half:0", "half:1", "half:2"),
    "AwA1": ("official", "random:10:1", "random:10:2", "random:10:3", "half:0", "half:1"),
    "simulated": ("new_combinations", "random:6:1", "random:6:2", "random:10:1", "half:0"),
}
METHODS: Mapping[str, Mapping[str, Any]] = {  # values for some hundred to some thousand training samples
    "methods.sadvae": {
        "z_r": 128,
        "learning_rate": 1e-3,
        "beta_x": 1e-3,
        "beta_y": 1e-3,
        "lambda_2": 1e-3,
        "epochs": 16,
        "classifier_samples": 100,
    },
    "methods.revise": {"learning_rate": 1e-3, "batch_size": 128, "epochs": 24},
}
_AWA_SAMPLES = 7500  # of 30,475: a quarter tells the rules apart in a quarter of the time


@dataclass(frozen=True)
class Recording:
    """One method on one class split, trained with `SEEDS` on `FOLDS` folds, on the fold that holds seen samples out
    (`held out`), and on all seen classes (`test`).

    sides: (kind, seed, epoch) to (N, S) seen and (N, U) unseen log-probabilities; kinds: the folds' numbers, `held out`
    and `test`; labels: kind to (N,).
    """

    name: str
    epochs: int
    sides: Mapping[tuple[str, int, int], tuple[Tensor, Tensor]]
    labels: Mapping[str, Tensor]

    def by_class(self, kind: str, seed: int) -> Tensor:
        """(epochs, classes) accuracy among the unseen classes on each of them."""
        labels, rows = self.labels[kind], []
        for epoch in range(self.epochs):
            seen, unseen = self.sides[kind, seed, epoch]
            own = labels >= seen.shape[1]
            rows.append(accuracy_by_class(unseen[own].argmax(1), labels[own] - seen.shape[1]))
        return torch.stack(rows)


def recordings(folder: Path, splits: int | None = None) -> Iterator[Recording]:
    """Every method on every split, data sets written to `folder`. splits: of each data set; all by default."""
    for data, dataset, text, features in _data_sets(folder):
        for split in SPLITS[data][:splits]:
            options = ProblemOptions(dataset=dataset, split=split, text=text, features=features)
            problem = load_problem(options)
            for name, values in METHODS.items():
                yield recorded(load_method(name), values, problem, f"{data} {split} {name.rpartition('.')[2]}")


def recorded(method: Method, values: Mapping[str, Any], problem: Problem, name: str) -> Recording:
    config = method.configure(values)
    folds = {str(i): fold for i, fold in enumerate(problem.validation_folds(FOLDS, 0.2, 0, config.normalise))}
    folds |= {"held out": problem.held_out(0.2, 0, config.normalise), "test": problem.final(config.normalise)}
    members = [(seed, kind) for seed in SEEDS for kind in folds]
    sides: dict[tuple[str, int, int], tuple[Tensor, Tensor]] = {}

    def keep(member: int, model: Model) -> dict[str, float]:
        (seed, kind), epoch = members[member], len(course.history)
        found = model.sides(folds[kind].samples.features)
        sides[kind, seed, epoch] = tuple(side.clamp_min(-60.0) for side in found)
        return {}

    tasks = [Member(folds[kind].task, config, seed) for seed, kind in members]
    course = Course(name, tasks, config.epochs - 1, keep, {})
    Fitting(method, [course], torch.device("cpu")).fit()
    return Recording(name, config.epochs, sides, {kind: fold.samples.labels for kind, fold in folds.items()})


def _data_sets(folder: Path) -> Sequence[tuple[str, Path, ClassText, str | None]]:
    """Name, data folder, class text and feature set of each."""
    data = Path(os.environ.get("UNSEEN_DATA", "../shared/data"))
    utd, awa, simulated = (folder / name for name in ("utd", "awa1", "simulated"))
    write_dataset(read("utd_mhad", data / "utd_mhad", ImportOptions()), utd)
    write_dataset(simulate(), simulated)
    with np.load(data / "awa1/awa1_bow_pca512.npz", allow_pickle=False) as whole:
        arrays = dict(whole)
    rows = np.sort(np.random.default_rng(0).choice(len(arrays["labels"]), _AWA_SAMPLES, replace=False))
    part = {name: array[rows] if name in ("features", "labels") else array for name, array in arrays.items()}
    np.savez(folder / "awa1.npz", **part)
    write_dataset(read("npz", folder / "awa1.npz", ImportOptions(name="awa1", modality="image")), awa)
    return [
        ("UTD-MHAD", utd, ClassText(), "shiftgcn"),
        ("AwA1", awa, ClassText(encoder="attributes"), None),
        ("simulated", simulated, ClassText(), None),
    ]
