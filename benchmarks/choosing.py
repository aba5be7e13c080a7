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
Judged = dict[tuple[str, ...], list[tuple[float, ...]]]  # a row's name to what it came to on each split
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
    """Print and keep the tables of rules for epochs and for what joins seen and unseen scores."""
    epochs: Judged = {}
    gates: Judged = {}
    awa: Judged = {}
    configurations: Judged = {}
    where = []
    with tempfile.TemporaryDirectory() as scratch:
        for data, split, problem in problems(Path(scratch), splits):
            where.append(f"{data} {split}")
            _judge_configurations(problem, configurations)
            on_awa = (split, data) == ON_AWA
            for name, values in {**METHODS, **(OTHERS if on_awa else {})}.items():
                recording = recorded(name, values, data, split, problem)
                if name in METHODS:
                    _judge_epochs(recording, epochs)
                    _judge_gates(recording, gates, ())
                if on_awa:
                    _judge_gates(recording, awa, (recording.method,))
                print(data, split, recording.method, flush=True)
    counted = f"{len(where)} class splits of UTD-MHAD, AwA1 and the simulated data"
    notes = [
        f"Splits: {', '.join(where)}.",
        "validation − test: what validation promised more than the test gave.",
        "AwA1's features were reduced by a PCA fitted on the official split's seen classes: on its other splits the "
        "unseen classes are not clean, for every rule alike.",
    ]
    keep(
        "choosing-epochs",
        f"Rules that choose an epoch: clean test ZSL per class, %, {counted}, SA-DVAE and ReViSE",
        ["folds", "seeds", "rule", "test ZSL", "validation − test", "mean distance"],
        [[*key, *_shown(values)] for key, values in epochs.items()],
        notes,
    )
    keep(
        "choosing-gates",
        f"Rules that join seen and unseen scores: test H per class, %, {counted}, SA-DVAE, ReViSE and ESZSL",
        ["models", "rule", "test H", "validation − test", "mean distance", "s", "u"],
        [[*key, *_shown(values)] for key, values in gates.items()],
        [*notes, "Epochs are chosen by the latest within the standard error of the difference, on three folds."],
    )
    keep(
        "choosing-gates-awa1",
        "Rules that join seen and unseen scores, AwA1's official split, a quarter of its pictures, each method: %",
        ["method", "models", "rule", "test H", "validation − test", "mean distance", "s", "u"],
        [[*key, *_shown(values)] for key, values in awa.items()],
        [],
    )
    keep(
        "choosing-configurations",
        f"Rules that choose one of {len(GRID)} configurations of ESZSL: test ZSL per class, %, {counted}",
        ["folds", "rule", "test ZSL", "validation − test", "mean distance"],
        [[*key, *_shown(values)] for key, values in configurations.items()],
        notes,
    )


def _judge_configurations(problem: Problem, found: Judged) -> None:
    validation, test = accuracies_of_grid(problem)
    found.setdefault(("", "best on the test itself"), []).append((float(test.max()), 0.0))
    for folds in (1, _OURS, FOLDS):
        accuracies = torch.cat(validation[:folds], dim=1)
        for rule, choose in CONFIGURATIONS.items():
            chosen = choose(accuracies)
            reached = float(test[chosen])
            found.setdefault((str(folds), rule), []).append((reached, float(accuracies[chosen].mean()) - reached))


def _judge_epochs(recording: Recording, found: Judged) -> None:
    if recording.epochs == 1:
        return
    test = torch.stack([recording.by_class("test", seed).mean(1) for seed in SEEDS])  # (seeds, epochs)
    best = float(test.mean(0).max())
    found.setdefault(("", str(len(SEEDS)), "best on the test itself"), []).append((best, 0.0))
    for folds in (1, _OURS, FOLDS):
        for seeds in ([SEEDS[0]], SEEDS):
            accuracies = _accuracies(recording, folds, seeds)
            chance = 1 / recording.by_class("0", SEEDS[0]).shape[1]
            tested = test[[SEEDS.index(seed) for seed in seeds]].mean(0)
            for rule, choose in EPOCHS.items():
                epoch = choose(accuracies, chance)
                reached = float(tested[epoch])
                promised = float(accuracies[epoch].mean()) - reached
                found.setdefault((str(folds), str(len(seeds)), rule), []).append((reached, promised))


def _judge_gates(recording: Recording, found: Judged, named: tuple[str, ...]) -> None:
    """named: what the rows' names start with."""
    accuracies = _accuracies(recording, _OURS, SEEDS)
    epoch = latest_of_equals(accuracies, 1 / recording.by_class("0", SEEDS[0]).shape[1]).place

    kinds = [str(fold) for fold in range(_OURS)] + ["held out", "test"]
    for rule, (options, carry) in GATES.items():
        sides = recording.stacked if options is None else recording.sides
        single = [[(*sides[kind, seed, epoch], recording.labels[kind]) for kind in kinds] for seed in SEEDS]
        each = [_generalised(options, carry, one) for one in single]
        mean = tuple(sum(values) / len(each) for values in zip(*each, strict=True))
        found.setdefault((*named, "single", rule), []).append(mean)
        together = _generalised(options, carry, held_out_together(single))
        found.setdefault((*named, f"ensemble of {len(SEEDS)} seeds", rule), []).append(together)


def _generalised(options: GateOptions | None, carry: bool, scored: Sequence[HeldOut]) -> tuple[float, ...]:
    """Test H, what validation promised more, seen and unseen accuracy. scored: folds, held-out seen samples, test."""
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
    return reached["harmonic_mean"], promised - reached["harmonic_mean"], reached["seen"], reached["unseen"]


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


def _shown(values: Sequence[tuple[float, ...]]) -> list[str]:
    first, second, *others = (torch.tensor(column) for column in zip(*values, strict=True))
    cells = [first.mean(), second.mean(), second.abs().mean(), *(other.mean() for other in others)]
    return [f"{100 * float(cell):.1f}" for cell in cells]


if __name__ == "__main__":
    typer.run(main)
