"""Ensembles of what was trained: the seeds of a configuration, or the best configurations of a search.

They need no further training. The combination of seen and unseen scores is fitted on the mean of the parts' held-out
probabilities, and recalibrated on their mean for held-out seen samples; the number of configurations is chosen on
held-out samples too.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from platform.method import Method
from platform.training.devices import device_of
from platform.training.ensembles import Ensemble, held_out_together, mean_probability
from platform.training.evaluation import all_metrics
from platform.training.protocols import Combined, Sides, combined
from platform.training.saved_models import load_model, save_model
from platform.training.trainable import Experiment, Outcome, read_held_out, record_of_fold
from platform.zeroshot.choosing import latest_of_equals
from platform.zeroshot.gate import carried
from platform.zeroshot.normaliser import Normaliser

Part = tuple[Path, Outcome]  # a tested outcome, and the folder that its models stand in


def seeds_together(experiment: Experiment, outcomes: Sequence[Outcome], folder: Path) -> list[Outcome]:
    """The ensemble of a configuration's seeds on each split, saved beside the single models; none for one seed."""
    found = []
    for split in dict.fromkeys(o.split for o in outcomes):
        parts = _sound(outcomes, split, folder)
        if len(parts) > 1:
            found.append(_joined(experiment, split, f"{len(parts)} seeds", parts, folder))
    return found


def best_together(
    experiment: Experiment, ranked: Sequence[tuple[Path, Sequence[Outcome]]], metric: str, folder: Path
) -> list[Outcome]:
    """The ensemble of the best k configurations with all their seeds; k by `metric` on pseudo-unseen classes.

    Among values of k that the folds cannot tell apart it takes the largest: larger ensembles vary less.
    ranked: each configuration's folder and outcomes, the best first. Returns one outcome a split.
    """
    method, found = experiment.loaded_method, []
    for split in dict.fromkeys(o.split for _, outcomes in ranked for o in outcomes):
        several, parts = [], []
        for own, outcomes in ranked:
            parts = [*parts, *_sound(outcomes, split, own)]
            several.append(parts)
        if not parts:
            continue
        sizes = [size for size, parts in enumerate(several) if parts]
        by_fold = [[fold[metric] for fold in _held_out(method, several[size])[1].by_fold] for size in sizes]
        best = sizes[latest_of_equals(torch.tensor(by_fold, dtype=torch.float64)).place]
        found.append(_joined(experiment, split, f"best {best + 1}", several[best], folder))
    return found


def _sound(outcomes: Sequence[Outcome], split: str, folder: Path) -> list[Part]:
    return [(folder, o) for o in outcomes if o.split == split and o.models and not o.ensemble]


def _joined(experiment: Experiment, split: str, name: str, parts: Sequence[Part], folder: Path) -> Outcome:
    """An ensemble's outcome, its models saved."""
    sides, found = _held_out(experiment.loaded_method, parts)
    # features as in the data folder: parts may differ in their normalisation
    fold = experiment.loaded(split).final("none")
    # on this machine's device: a cluster's driver may have no GPU
    device = device_of(experiment.device if torch.cuda.is_available() else "auto")
    samples = fold.samples.to(device)
    tests, models = {}, {}
    for protocol in parts[0][1].models:
        loaded = [load_model(folder / outcome.models[protocol], device) for folder, outcome in parts]
        normalisers = [Normaliser.from_record(record["normaliser"]) for _, record in loaded]
        together = Ensemble.of(experiment.method, [model for model, _ in loaded], normalisers)
        combination, own = found.combination, [of_part[protocol] for of_part in sides if protocol in of_part]
        if found.seen_share is not None and len(own) == len(parts):
            seen, unseen = (mean_probability([pair[side] for pair in own]) for side in (0, 1))
            combination = carried(combination, found.seen_share, seen, unseen)
        together = together.joined_by(combination)
        tests[protocol] = all_metrics(together, samples)
        models[protocol] = f"models/{split}-{name}-{protocol}".replace(" ", "-").replace(":", "-")
        record = {"protocol": protocol, **record_of_fold(experiment, fold.normaliser, split)}
        save_model(experiment.method, together, folder / models[protocol], record)
    folds = found.by_fold
    zero_shot = {name: sum(fold[name] for fold in folds) / len(folds) for name in ("zsl", "zsl_per_sample")}
    validation = {**zero_shot, **found.metrics}
    reached: Mapping[str, Any] = {"validation": validation, "test": tests, "models": models, "ensemble": name}
    emptied = {"epochs": [], "epoch": None, "test_epochs": [], "held_out": "", "seconds": 0.0}
    return parts[0][1].model_copy(update={**emptied, **reached})


def _held_out(method: Method, parts: Sequence[Part]) -> tuple[list[dict[str, Sides]], Combined]:
    """Each part's scores of held-out seen samples, by protocol, and the combination fitted on validation."""
    scores = [read_held_out(folder / outcome.held_out) for folder, outcome in parts]
    held_out = held_out_together([folds for folds, _ in scores])
    return [sides for _, sides in scores], combined(method.configure(parts[0][1].config), held_out)
