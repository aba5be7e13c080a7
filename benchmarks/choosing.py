"""Rules of choosing, judged on the test: `python -m benchmarks.choosing`, with UNSEEN_DATA set.

Methods are trained once on 20 class splits of three data sets, and what they say of held-out and of test samples after
every epoch is kept. Rules then choose an epoch, and join seen and unseen scores, from validation alone. A rule is good
where the test is high, and where validation promised no more than the test then gave. The baselines are what was done
before: the best epoch on one fold, and the papers' gate.
"""

import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated

import torch
import typer
from torch import Tensor

from benchmarks.record import keep
from benchmarks.recording import (
    FOLDS,
    GRID,
    METHODS,
    ON_AWA,
    OTHERS,
    SEEDS,
    Recording,
    accuracies_of_grid,
    problems,
    recorded,
)
from platform.training.ensembles import held_out_together
from platform.training.protocols import HeldOut, pooled
from platform.zeroshot.choosing import as_good_as, latest_of_equals
from platform.zeroshot.gate import GateOptions, carried, fit_gate, fit_stacking, seen_share
from platform.zeroshot.metrics import generalised_metrics
from platform.zeroshot.problem import Problem

_OURS = 3  # folds, by default
_PROMISED = ("validation − test", "mean distance")
Key = tuple[str, ...]
Choosing = Callable[[Tensor, float], int]  # (epochs, units) accuracies on classes of folds, and chance, to an epoch
EPOCHS: Mapping[str, Choosing] = {
    "best": lambda a, chance: int(a.mean(1).argmax()),
    "best of three neighbours' mean": lambda a, chance: int(_smoothed(a.mean(1)).argmax()),
    "latest within the best one's standard error": lambda a, chance: _within(a, a[int(a.mean(1).argmax())], -1),
    "earliest within the standard error of the difference": lambda a, chance: _within_difference(a, 0),
    "latest within the standard error of the difference": lambda a, chance: latest_of_equals(a, chance).place,
    "last": lambda a, chance: len(a) - 1,
}
CONFIGURATIONS: Mapping[str, Callable[[Tensor], int]] = {  # (configurations, units) to one of them
    "best": lambda a: int(a.mean(1).argmax()),
    "best mean less its standard error": lambda a: int((a.mean(1) - a.std(1) / math.sqrt(a.shape[1])).argmax()),
    "the best's equal nearest to the mean of its equals": lambda a: _central(a),
}
GATES: Mapping[str, tuple[GateOptions | None, bool]] = {  # how to fit it (None: stacking), and whether it is carried
    "soft gate of the papers": (GateOptions("soft", "probabilities", tempered=False, threshold="listed"), False),
    "hard gate of the papers": (GateOptions("hard", "probabilities", tempered=False, threshold="listed"), False),
    "stacking": (None, False),
    "soft gate, best threshold": (GateOptions("soft", "probabilities", tempered=False), False),
    "soft gate on confidence": (GateOptions("soft", tempered=False), False),
    "stacking, carried": (None, True),
    "soft gate, best threshold, carried": (GateOptions("soft", "probabilities", tempered=False), True),
    "hard gate on confidence, carried": (GateOptions("hard"), True),
    "soft gate on confidence, carried": (GateOptions("soft", tempered=False), True),
    "soft tempered gate on confidence, carried": (GateOptions("soft", tempered=True), True),
    "soft gate on confidence, T = 1, carried": (GateOptions("soft", temperature_scaling=False), True),
}


def main(splits: Annotated[int | None, typer.Option(help="of each data set; all if absent")] = None) -> None:
    """Print and keep the tables of rules for epochs, for what joins seen and unseen scores, and for configurations."""
    epochs, gates, awa, configurations = Judged(), Judged(), Judged(), Judged()
    where = []
    with tempfile.TemporaryDirectory() as scratch:
        for data, split, problem in problems(Path(scratch), splits):
            where.append(f"{data} {split}")
            _judge_configurations(problem, (where[-1], "eszsl"), configurations)
            on_awa = (split, data) == ON_AWA
            for name, values in {**METHODS, **(OTHERS if on_awa else {})}.items():
                recording = recorded(name, values, data, split, problem)
                if name in METHODS:
                    _judge_epochs(recording, epochs)
                    _judge_gates(recording, gates)
                if on_awa:
                    _judge_gates(recording, awa)
                print(data, split, recording.method, flush=True)
    counted = f"{len(where)} class splits of UTD-MHAD, AwA1 and the simulated data"
    notes = [
        f"Splits: {', '.join(where)}.",
        "validation − test: what validation promised more than the test gave; mean distance: of the two, without sign. "
        "A difference to the baseline stands with its standard error over splits and methods.",
        "AwA1's features were reduced by a PCA fitted on the official split's seen classes: on its other splits the "
        "unseen classes are not clean, for every rule alike.",
    ]
    chosen = "Epochs are chosen by the latest within the standard error of the difference, on three folds."
    keep(
        "choosing-epochs",
        f"Rules that choose an epoch: clean test ZSL per class, %, {counted}",
        ["folds", "seeds", "rule", "test ZSL", "to the best of 1 fold, 1 seed", *_PROMISED, *epochs.methods],
        epochs.rows(lambda key: ("1", "1", "best")),
        notes,
    )
    heading = ["models", "rule", "test H", "to stacking", *_PROMISED, "s", "u"]
    keep(
        "choosing-gates",
        f"Rules that join seen and unseen scores: test H per class, %, {counted}",
        [*heading, *gates.methods],
        gates.rows(_stacking),
        [*notes, chosen],
    )
    keep(
        "choosing-gates-awa1",
        "Rules that join seen and unseen scores: test H per class, %, AwA1's official split, a quarter of its pictures",
        [*heading, *awa.methods],
        awa.rows(_stacking),
        [notes[1], chosen],
    )
    keep(
        "choosing-configurations",
        f"Rules that choose one of {len(GRID)} configurations of ESZSL: test ZSL per class, %, {counted}",
        ["folds", "rule", "test ZSL", "to the best of 1 fold", *_PROMISED],
        configurations.rows(lambda key: ("1", "best")),
        notes,
    )


class Judged:
    """What rules came to. A row's key, the rule last, to what it reached on each split by each method."""

    def __init__(self) -> None:
        self.found: dict[Key, dict[tuple[str, str], tuple[float, ...]]] = {}

    def add(self, key: Key, of: tuple[str, str], reached: float, promised: float, *others: float) -> None:
        """of: which split of which data set, and the method; reached: on the test; promised: by validation."""
        self.found.setdefault(key, {})[of] = (reached, promised - reached, *others)

    @property
    def methods(self) -> list[str]:
        """Columns of the mean that each method reached, where there are several."""
        named = list(dict.fromkeys(method for values in self.found.values() for _, method in values))
        return named if len(named) > 1 else []

    def rows(self, baseline: Callable[[Key], Key]) -> list[list[str]]:
        """A table's rows. baseline: of a row's key, the row that it is compared with."""
        rows = []
        for key, values in self.found.items():
            reached, more, *others = torch.tensor(list(values.values()), dtype=torch.float64).unbind(1)
            base = self.found[baseline(key)]
            difference = reached - torch.tensor([base[of][0] for of in values], dtype=torch.float64)
            error = difference.std() / math.sqrt(len(difference))
            means = [_percent(value.mean()) for value in (more, more.abs(), *others)]
            by_method = [
                _percent(torch.tensor([value[0] for (_, own), value in values.items() if own == method]).mean())
                for method in self.methods
            ]
            to_baseline = f"{_percent(difference.mean())} ± {_percent(error)}"
            rows.append([*key, _percent(reached.mean()), to_baseline, *means, *by_method])
        return rows


def _percent(value: Tensor) -> str:
    return f"{100 * float(value):.1f}"


def _stacking(key: Key) -> Key:
    return (key[0], "stacking")


def _judge_configurations(problem: Problem, of: tuple[str, str], found: Judged) -> None:
    validation, test = accuracies_of_grid(problem)
    found.add(("", "best on the test itself"), of, float(test.max()), float(test.max()))
    for folds in (1, _OURS, FOLDS):
        accuracies = torch.cat(validation[:folds], dim=1)
        for rule, choose in CONFIGURATIONS.items():
            chosen = choose(accuracies)
            found.add((str(folds), rule), of, float(test[chosen]), float(accuracies[chosen].mean()))


def _judge_epochs(recording: Recording, found: Judged) -> None:
    if recording.epochs == 1:
        return
    test = torch.stack([recording.by_class("test", seed).mean(1) for seed in SEEDS])  # (seeds, epochs)
    best = float(test.mean(0).max())
    found.add(("", str(len(SEEDS)), "best on the test itself"), recording.name, best, best)
    for folds in (1, _OURS, FOLDS):
        for seeds in ([SEEDS[0]], SEEDS):
            accuracies = _accuracies(recording, folds, seeds)
            chance = 1 / recording.by_class("0", SEEDS[0]).shape[1]
            tested = test[[SEEDS.index(seed) for seed in seeds]].mean(0)
            for rule, choose in EPOCHS.items():
                epoch = choose(accuracies, chance)
                key = (str(folds), str(len(seeds)), rule)
                found.add(key, recording.name, float(tested[epoch]), float(accuracies[epoch].mean()))


def _judge_gates(recording: Recording, found: Judged) -> None:
    accuracies = _accuracies(recording, _OURS, SEEDS)
    epoch = latest_of_equals(accuracies, 1 / recording.by_class("0", SEEDS[0]).shape[1]).place

    kinds = [str(fold) for fold in range(_OURS)] + ["held out", "test"]
    for rule, (options, carry) in GATES.items():
        sides = recording.stacked if options is None else recording.sides
        single = [[(*sides[kind, seed, epoch], recording.labels[kind]) for kind in kinds] for seed in SEEDS]
        each = [_generalised(options, carry, one) for one in single]
        mean = [sum(values) / len(each) for values in zip(*each, strict=True)]
        found.add(("single", rule), recording.name, *mean)
        together = _generalised(options, carry, held_out_together(single))
        found.add((f"ensemble of {len(SEEDS)} seeds", rule), recording.name, *together)


def _generalised(options: GateOptions | None, carry: bool, scored: Sequence[HeldOut]) -> tuple[float, ...]:
    """Test H, what validation promised, seen and unseen accuracy. scored: folds, held-out seen samples, test."""
    *folds, held_out, (test_seen, test_unseen, test_labels) = scored
    seen, unseen, labels = pooled(folds)
    logit = ()
    if options is None:
        combination = fit_stacking(seen, unseen, labels)
    else:
        combination, *logit = fit_gate(options, seen, unseen, labels)
    classes = seen.shape[1]
    promised = generalised_metrics(combination.scores(seen, unseen, *logit), labels, classes)["harmonic_mean"]
    if carry:
        share = seen_share(combination.margins(seen, unseen, *logit), labels, classes)
        combination = carried(combination, share, *held_out[:2])
    scores = combination.scores(test_seen, test_unseen)
    reached = generalised_metrics(scores, test_labels, test_seen.shape[1])
    return reached["harmonic_mean"], promised, reached["seen"], reached["unseen"]


def _accuracies(recording: Recording, folds: int, seeds: Sequence[int]) -> Tensor:
    """(epochs, units), as `latest_of_equals` wants them."""
    each = [torch.stack([recording.by_class(str(fold), seed) for seed in seeds]).mean(0) for fold in range(folds)]
    return torch.cat(each, dim=1)


def _central(accuracies: Tensor) -> int:
    equal = torch.nonzero(as_good_as(int(accuracies.mean(1).argmax()), accuracies)).flatten()
    own = accuracies[equal]
    return int(equal[(own - own.mean(0)).square().sum(1).argmin()])


def _smoothed(means: Tensor) -> Tensor:
    return torch.stack([means[max(0, i - 1) : i + 2].mean() for i in range(len(means))])


def _within(accuracies: Tensor, spread: Tensor, place: int) -> int:
    """The first or last epoch within the standard error of `spread`."""
    means = accuracies.mean(1)
    equal = torch.nonzero(means >= means.max() - spread.std(-1) / math.sqrt(accuracies.shape[1])).flatten()
    return int(equal[place])


def _within_difference(accuracies: Tensor, place: int) -> int:
    return _within(accuracies, accuracies - accuracies[int(accuracies.mean(1).argmax())], place)


if __name__ == "__main__":
    typer.run(main)
