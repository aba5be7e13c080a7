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
from benchmarks.recording import FOLDS, SEEDS, Recording, recordings
from platform.training.ensembles import held_out_together
from platform.training.protocols import HeldOut, pooled
from platform.zeroshot.choosing import latest_of_equals
from platform.zeroshot.gate import GateOptions, carried, fit_gate, fit_stacking, seen_share
from platform.zeroshot.metrics import generalised_metrics

_OURS = 3  # folds, by default
Choosing = Callable[[Tensor, float], int]  # (epochs, units) accuracies on classes of folds, and chance, to an epoch
EPOCHS: Mapping[str, Choosing] = {
    "best": lambda a, chance: int(a.mean(1).argmax()),
    "best of three neighbours' mean": lambda a, chance: int(_smoothed(a.mean(1)).argmax()),
    "latest within the best one's standard error": lambda a, chance: _within(a, a[int(a.mean(1).argmax())], -1),
    "earliest within the standard error of the difference": lambda a, chance: _within_difference(a, 0),
    "latest within the standard error of the difference": lambda a, chance: latest_of_equals(a, chance).place,
    "last": lambda a, chance: len(a) - 1,
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
    epochs: dict[str, list[tuple[float, ...]]] = {}
    gates: dict[tuple[str, str], list[tuple[float, ...]]] = {}
    names = []
    with tempfile.TemporaryDirectory() as scratch:
        for recording in recordings(Path(scratch), splits):
            names.append(recording.name)
            _judge_epochs(recording, epochs)
            _judge_gates(recording, gates)
            print(recording.name, flush=True)
    data = {name.partition(" ")[0] for name in names}
    counted = f"{len({name.rpartition(' ')[0] for name in names})} class splits of {', '.join(sorted(data))}"
    keep(
        "choosing-epochs",
        f"Rules that choose an epoch: clean test ZSL per class, %, mean over {counted}, two methods, two seeds",
        ["folds", "seeds", "rule", "test ZSL", "validation − test", "mean distance"],
        [[*key.split("|"), *_shown(values)] for key, values in epochs.items()],
        [f"The best epoch on the test itself: {_percent(epochs['0|2|oracle'], 0)}. Splits: {', '.join(names)}."],
    )
    keep(
        "choosing-gates",
        f"Rules that join seen and unseen scores: test H per class, %, mean over {counted}, two methods",
        ["models", "rule", "test H", "validation − test", "mean distance", "s", "u", *sorted(data)],
        [[*key, *_shown(values), *_of_data(values, names, sorted(data))] for key, values in gates.items()],
        ["Epochs are chosen by the latest within the standard error of the difference, on three folds."],
    )


def _judge_epochs(recording: Recording, found: dict[str, list[tuple[float, ...]]]) -> None:
    test = torch.stack([recording.by_class("test", seed).mean(1) for seed in SEEDS])  # (seeds, epochs)
    best = float(test.mean(0).max())
    found.setdefault("0|2|oracle", []).append((best, 0.0))
    for folds in (1, _OURS, FOLDS):
        for seeds in ([SEEDS[0]], SEEDS):
            accuracies = _accuracies(recording, folds, seeds)
            chance = 1 / recording.by_class("0", SEEDS[0]).shape[1]
            tested = test[[SEEDS.index(seed) for seed in seeds]].mean(0)
            for rule, choose in EPOCHS.items():
                epoch = choose(accuracies, chance)
                reached = float(tested[epoch])
                promised = float(accuracies[epoch].mean()) - reached
                found.setdefault(f"{folds}|{len(seeds)}|{rule}", []).append((reached, promised))


def _judge_gates(recording: Recording, found: dict[tuple[str, str], list[tuple[float, ...]]]) -> None:
    accuracies = _accuracies(recording, _OURS, SEEDS)
    epoch = latest_of_equals(accuracies, 1 / recording.by_class("0", SEEDS[0]).shape[1]).place

    def held_out(kind: str, seed: int) -> HeldOut:
        return *recording.sides[kind, seed, epoch], recording.labels[kind]

    kinds = [str(fold) for fold in range(_OURS)] + ["held out", "test"]
    single = [[held_out(kind, seed) for kind in kinds] for seed in SEEDS]
    for rule, (options, carry) in GATES.items():
        each = [_generalised(options, carry, one) for one in single]
        found.setdefault(("single", rule), []).append(tuple(sum(v) / len(each) for v in zip(*each, strict=True)))
        together = _generalised(options, carry, held_out_together(single))
        found.setdefault((f"ensemble of {len(SEEDS)} seeds", rule), []).append(together)


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


def _of_data(values: Sequence[tuple[float, ...]], names: Sequence[str], data: Sequence[str]) -> list[str]:
    return [_percent([v for v, name in zip(values, names, strict=True) if name.startswith(own)], 0) for own in data]


def _percent(values: Sequence[tuple[float, ...]], column: int) -> str:
    return f"{100 * sum(v[column] for v in values) / len(values):.1f}"


if __name__ == "__main__":
    typer.run(main)
