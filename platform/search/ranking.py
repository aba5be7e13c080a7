"""A search's outcomes and their ranking: the same rule for its stages, tests and tables."""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from platform.search.progress import Row
from platform.search.space import SearchSpace
from platform.training.trainable import Outcome
from platform.zeroshot.choosing import as_good_as

Trials = Mapping[
    str, Sequence[Outcome]
]  # a trial's outcomes, one a seed and split, by its key; the first proposed first


def ranked(trials: Trials, space: SearchSpace) -> list[str]:
    """Keys of the trials that finished, the best first; of equal ones the first proposed.

    By the mean over seeds and splits of the metric that is searched. With several metrics the first is the best of the
    Pareto front. A trial that was stopped early is not ranked: it has only a value at a rung.
    """
    means = _means(trials, space)
    best_first = sorted(means, key=lambda key: means[key][space.leading], reverse=space.mode == "max")
    first = front(trials, space)
    leading = next((key for key in best_first if key in first), None)
    return [key for key in best_first if key == leading] + [key for key in best_first if key != leading]


def equals(best: str, trials: Trials, space: SearchSpace) -> list[str]:
    """Keys of the other ranked trials that validation cannot tell from the best one: they are not worse by more than
    the standard error of the difference, paired over folds, seeds and splits."""
    keys = ranked(trials, space)
    values = [[fold[space.leading] for o in trials[key] for fold in o.folds or [o.validation]] for key in keys]
    sign = 1.0 if space.mode == "max" else -1.0
    equal = as_good_as(keys.index(best), sign * torch.tensor(values, dtype=torch.float64))
    return [key for key, same in zip(keys, equal.tolist(), strict=True) if same and key != best]


def front(trials: Trials, space: SearchSpace) -> list[str]:
    """Keys of the Pareto front: the best trial, or with several metrics all that none dominates."""
    sign = -1.0 if space.mode == "max" else 1.0
    losses = {key: tuple(sign * mean[m] for m in space.metric) for key, mean in _means(trials, space).items()}
    found: dict[tuple[float, ...], str] = {}
    for key, loss in losses.items():
        beaten = any(
            all(a <= b for a, b in zip(other, loss, strict=True)) and other != loss for other in losses.values()
        )
        if not beaten:
            found.setdefault(loss, key)  # of equal ones the first proposed
    return list(found.values())


def on_splits(trials: Trials, splits: Sequence[str]) -> Trials:
    """The trials' outcomes on some of their class splits."""
    return {key: [o for o in outcomes if o.split in splits] for key, outcomes in trials.items()}


def row_of(key: str, values: Mapping[str, Any], outcomes: Sequence[Outcome]) -> Row:
    """A trial as it is shown. values: its configuration's fields."""
    return Row(key, values, status_of(outcomes), *mean_and_spread(outcomes))


def status_of(outcomes: Sequence[Outcome]) -> str:
    """The status of a configuration: failed where one of its seeds or splits failed, since their mean is undefined."""
    found = {o.status for o in outcomes}
    return next((status for status in ("failed", "stopped", "finished") if status in found), "failed")


def mean_and_spread(outcomes: Sequence[Outcome]) -> tuple[dict[str, float], dict[str, float]]:
    """Mean and standard deviation of each validation metric over seeds and splits; nothing where one has failed."""
    if status_of(outcomes) == "failed":
        return {}, {}
    columns = {name: [o.validation[name] for o in outcomes] for name in outcomes[0].validation}
    spread = {name: statistics.stdev(v) if len(v) > 1 else 0.0 for name, v in columns.items()}
    return {name: statistics.mean(v) for name, v in columns.items()}, spread


def _means(trials: Trials, space: SearchSpace) -> dict[str, dict[str, float]]:
    """Mean metrics of the trials that can be ranked, in the order in which they were proposed."""
    ended = {key: mean_and_spread(several)[0] for key, several in trials.items() if status_of(several) == "finished"}
    needed = {*space.metric, space.leading}
    return {key: mean for key, mean in ended.items() if all(math.isfinite(mean.get(m, math.nan)) for m in needed)}
