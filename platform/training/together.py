"""Ensembles of what was trained: the seeds of a configuration, or the best configurations of a search.

They cost no training. What joins seen and unseen scores is fitted on the mean of the parts' held-out probabilities, and
how many configurations predict together is chosen there too.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from platform.method import Method, load_method
from platform.training.checkpoints import read_checkpoint
from platform.training.devices import device_of
from platform.training.ensembles import Ensemble, held_out_together
from platform.training.protocols import HeldOut, combined
from platform.training.saved_models import load_model, save_model
from platform.training.trainable import Experiment, Outcome, record_of_fold
from platform.zeroshot.evaluation import all_metrics, zero_shot_from_scores
from platform.zeroshot.gate import Combination
from platform.zeroshot.problem import load_problem

Part = tuple[Path, Outcome]  # a tested outcome, and the folder that its models stand in


def seeds_together(experiment: Experiment, outcomes: Sequence[Outcome], folder: Path) -> list[Outcome]:
    """A configuration's seeds as one model, split by split, written beside the single ones; none of fewer than two."""
    found = []
    for split in dict.fromkeys(o.split for o in outcomes):
        parts = _sound(outcomes, split, folder)
        if len(parts) > 1:
            found.append(_joined(experiment, split, f"{len(parts)} seeds", parts, folder))
    return found


def best_together(
    experiment: Experiment, ranked: Sequence[tuple[Path, Sequence[Outcome]]], metric: str, folder: Path
) -> list[Outcome]:
    """The best k of several configurations, with all their seeds, as one model; k by `metric` on pseudo-unseen classes.

    ranked: each configuration's folder and outcomes, the best first. Gives one outcome a split.
    """
    method, found = load_method(experiment.method), []
    for split in dict.fromkeys(o.split for _, outcomes in ranked for o in outcomes):
        several, parts = [], []
        for own, outcomes in ranked:
            parts = [*parts, *_sound(outcomes, split, own)]
            several.append(parts)
        if not parts:
            continue
        values = [_validated(method, parts)[1][metric] if parts else -math.inf for parts in several]
        best = max(range(len(values)), key=values.__getitem__)
        found.append(_joined(experiment, split, f"best {best + 1}", several[best], folder))
    return found


def _sound(outcomes: Sequence[Outcome], split: str, folder: Path) -> list[Part]:
    return [(folder, o) for o in outcomes if o.split == split and o.models and not o.ensemble]


def _joined(experiment: Experiment, split: str, name: str, parts: Sequence[Part], folder: Path) -> Outcome:
    """An ensemble's outcome, its models saved."""
    combination, validation = _validated(load_method(experiment.method), parts)
    fold = load_problem(experiment.problem.model_copy(update={"split": split})).final()
    # here, and not where it was trained: a cluster's driver may have no GPU
    device = device_of(experiment.device if torch.cuda.is_available() else "auto")
    samples = fold.samples.to(device)
    tests, models = {}, {}
    for protocol in parts[0][1].models:
        single = [load_model(folder / outcome.models[protocol], device)[0] for folder, outcome in parts]
        together = Ensemble.of(experiment.method, single).joined_by(combination)
        tests[protocol] = all_metrics(together, samples)
        models[protocol] = f"models/{split}-{name}-{protocol}".replace(" ", "-").replace(":", "-")
        record = {"protocol": protocol, **record_of_fold(experiment, fold, split)}
        save_model(experiment.method, together, folder / models[protocol], record)
    reached: Mapping[str, Any] = {"validation": validation, "test": tests, "models": models, "ensemble": name}
    emptied = {"epochs": [], "epoch": None, "test_epochs": [], "held_out": "", "seconds": 0.0}
    return parts[0][1].model_copy(update={**emptied, **reached})


def _validated(method: Method, parts: Sequence[Part]) -> tuple[Combination, dict[str, float]]:
    """The combination of parts that predict together, and their validation metrics."""
    held_out = held_out_together([_held_out(folder / outcome.held_out) for folder, outcome in parts])
    combination, joint = combined(method.configure(parts[0][1].config), held_out)
    folds = [zero_shot_from_scores(unseen, labels, seen.shape[1]) for seen, unseen, labels in held_out]
    zero_shot = {name: sum(fold[name] for fold in folds) / len(folds) for name in folds[0]}
    return combination, {**zero_shot, **joint}


def _held_out(path: Path) -> list[HeldOut]:
    tensors, record = read_checkpoint(path)
    return [
        tuple(tensors[f"{fold}.{name}"] for name in ("seen", "unseen", "labels")) for fold in range(record["folds"])
    ]
