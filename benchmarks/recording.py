"""What models say of held-out and test samples after every epoch, on many class splits: what rules of choosing see."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from platform.datasets.folder import write_dataset
from platform.datasets.readers import ImportOptions, read
from platform.datasets.simulator import simulate
from platform.datasets.text import ClassText
from platform.method import Member, Model, load_method
from platform.training.fitting import Fitting, TrainingGroup
from platform.workers import Workers
from platform.zeroshot.metrics import accuracy_by_class
from platform.zeroshot.problem import Fold, Problem, ProblemOptions, load_problem

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
    "methods.claster": {
        "hidden": 512,
        "channels": 0,
        "learning_rate": 2e-3,
        "semantic_weight": 4.0,
        "inference": "expected",
        "iterations": 50,
        "alpha_steps": 60,
        "epochs": 8,
    },
    "methods.eszsl": {"gamma": 1e3},
}
# the others, on AwA1's official split alone
ON_AWA = ("official", "AwA1")
OTHERS: Mapping[str, Mapping[str, Any]] = {
    "methods.ridge": {"gamma": 1e3},
    "methods.smie": {"learning_rate": 3e-4, "warm_up": 2, "epochs": 16},
    "methods.cadavae": {"hidden": False, "reconstruction": "mean", "learning_rate": 1e-3, "beta": 1e-3, "distance": 0.1,
                        "cross": 1.0, "epochs": 16, "classifier_samples": 100, "combination": "soft"},
}  # fmt: skip
GRID = [{"gamma": 10.0**g, "lambda_": 10.0**m} for g in range(-1, 6) for m in range(-2, 3)]  # of ESZSL
_AWA_SAMPLES = 7500  # of 30,475: a quarter tells the rules apart in a quarter of the time


@dataclass(frozen=True)
class Recording:
    """One method on one class split, trained with `SEEDS` on `FOLDS` folds, on the fold that holds seen samples out
    (`held out`), and on all seen classes (`test`).

    sides: (kind, seed, epoch) to (N, S) seen and (N, U) unseen log-probabilities; kinds: the folds' numbers, `held out`
    and `test`; stacked: those that stacking is given, where a method has one softmax over all classes for it; labels:
    kind to (N,).
    """

    data: str
    split: str
    method: str
    epochs: int
    sides: Mapping[tuple[str, int, int], tuple[Tensor, Tensor]]
    stacked: Mapping[tuple[str, int, int], tuple[Tensor, Tensor]]
    labels: Mapping[str, Tensor]

    @property
    def name(self) -> tuple[str, str]:
        """The class split, and the method."""
        return f"{self.data} {self.split}", self.method

    def by_class(self, kind: str, seed: int) -> Tensor:
        """(epochs, classes) accuracy among the unseen classes on each of them."""
        labels = self.labels[kind]
        return torch.stack([_by_class(self.sides[kind, seed, epoch], labels) for epoch in range(self.epochs)])


def problems(folder: Path, splits: int | None = None) -> Iterator[tuple[str, str, Problem]]:
    """Data set, split and problem of all, data sets written to `folder`. splits: of each data set; all by default."""
    for data, dataset, text, features in _data_sets(folder):
        for split in SPLITS[data][:splits]:
            options = ProblemOptions(dataset=dataset, split=split, text=text, features=features)
            yield data, split, load_problem(options)


def recorded(name: str, values: Mapping[str, Any], data: str, split: str, problem: Problem) -> Recording:
    """name: the method's module."""
    method = load_method(name)
    config = method.configure(values)
    folds = {str(i): fold for i, fold in enumerate(problem.validation_folds(FOLDS, 0.2, 0, config.normalise))}
    folds |= {"held out": problem.held_out(0.2, 0, config.normalise), "test": problem.final(config.normalise)}
    members = [(seed, kind) for seed in SEEDS for kind in folds]
    sides: dict[tuple[str, int, int], tuple[Tensor, Tensor]] = {}
    stacked = dict(sides)

    def keep(member: int, model: Model) -> dict[str, float]:
        (seed, kind), epoch = members[member], len(group.history)
        for combination, found in (("soft", sides), ("stacking", stacked)):
            joined = replace(model, config=model.config.model_copy(update={"combination": combination}))
            found[kind, seed, epoch] = _sides(joined, folds[kind])
            if not model.learns_seen_classes:
                stacked[kind, seed, epoch] = sides[kind, seed, epoch]
                break
        return {}

    tasks = [Member(folds[kind].task, config, seed) for seed, kind in members]
    group = TrainingGroup(name, tasks, config.epochs - 1, keep, {})
    Fitting(method, [group], Workers(torch.device("cpu"))).fit()
    labels = {kind: fold.samples.labels for kind, fold in folds.items()}
    return Recording(data, split, name.rpartition(".")[2], config.epochs, sides, stacked, labels)


def accuracies_of_grid(problem: Problem) -> tuple[list[Tensor], Tensor]:
    """ESZSL's configurations: on each fold (configurations, classes), and on the test (configurations,)."""
    method = load_method("methods.eszsl")
    configs = [method.configure(values) for values in GRID]
    folds = [*problem.validation_folds(FOLDS, 0.2, 0), problem.final()]
    found: dict[tuple[int, int], Tensor] = {}

    def keep(member: int, model: Model) -> dict[str, float]:
        fold, config = divmod(member, len(configs))
        samples = folds[fold].samples
        found[fold, config] = _by_class(_sides(model, folds[fold]), samples.labels)
        return {}

    group = TrainingGroup("grid", [Member(f.task, c, 0) for f in folds for c in configs], 0, keep, {})
    Fitting(method, [group], Workers(torch.device("cpu"))).fit()
    *validation, test = [torch.stack([found[f, c] for c in range(len(configs))]) for f in range(len(folds))]
    return validation, test.mean(1)


def _sides(model: Model, fold: Fold) -> tuple[Tensor, Tensor]:
    return tuple(side.clamp_min(-60.0) for side in model.sides(fold.samples.features))


def _by_class(sides: tuple[Tensor, Tensor], labels: Tensor) -> Tensor:
    """(classes,) accuracy among the unseen classes on each of them."""
    seen, unseen = sides
    own = labels >= seen.shape[1]
    return accuracy_by_class(unseen[own].argmax(1), labels[own] - seen.shape[1])


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
