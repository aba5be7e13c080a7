"""A summary of a training before it starts, so that a wrong set of features is noticed."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor

from platform.datasets.encoded_frames import EncodedFrames
from platform.method import ScoringConfig
from platform.report.counts import measured_on, range_of
from platform.setup import Setup
from platform.training.protocols import ProtocolOptions
from platform.training.trainable import Experiment
from platform.zeroshot.counts import counts_of
from platform.zeroshot.problem import Problem
from platform.zeroshot.task import Samples, Task

_DEFAULT = "every field at its default, as its paper chose it for the paper's data; platform.tune chooses for these"
_RELEASED = "released beside it, as the papers' code has it: its epoch is chosen on the unseen test classes; it leaks"


def setting_of(
    experiment: Experiment, setup: Setup, problems: Mapping[str, Problem], preset: str | None = None
) -> dict[str, str]:
    """The summary's lines by heading, in the order in which they are shown.

    experiment: of one configuration; setup: its own; problems: by split; preset: the configuration's, if any.
    """
    asked, dataset, config = setup.data.problem, setup.data.dataset, setup.method.config
    name, card = dataset.feature_set(asked.features), dataset.card
    facts, others = card.features[name], [other for other in card.features if other != name]
    tasks = [problem.task for problem in problems.values()]
    simulated = "; SIMULATED: made by a program, no person was recorded" if card.simulated else ""
    square = f"{facts.side} × {facts.side} pixels"
    dimension = {"pixels": square, "pictures": square, "frames": f"{facts.frames} frames of {square}"}.get(
        facts.kind, f"{facts.dimension} dimensions"
    )
    masked = f"; with {asked.masked_features}, of the same clips with frames left out" if asked.masked_features else ""
    texts = f"{asked.text.text}{f', {asked.text.combine}' if '+' in asked.text.text else ''}"
    chosen = [p.normalise if config.normalise == "auto" else config.normalise for p in problems.values()]
    normalise = " and ".join(dict.fromkeys(chosen))
    return {
        "data": f"{card.name} ({card.modality}), {asked.dataset}{simulated}",
        "split": ", ".join(problems),
        "features": f"{name}: {dimension}, normalise {normalise}; {facts.extractor}{masked}"
        + (f"; not taken: {', '.join(others)}" if others else ""),
        "class text": f"{texts}, by {asked.text.encoder}: {range_of(t.semantics.shape[1] for t in tasks)} dimensions",
        "method": f"{experiment.method}{f', preset {preset}' if preset else ''}",
        "configuration": _differing(config),
        "training": f"{range_of(len(t.labels) for t in tasks)} samples of {range_of(len(t.seen) for t in tasks)} seen "
        "classes",
        "validation": _folds(problems.values(), experiment.protocol),
        "test": measured_on([counts_of(p.task.seen, p.task.unseen, p.test) for p in problems.values()]),
        "seeds": ", ".join(map(str, experiment.seeds)),
        "protocol": "clean" + (f"; {_RELEASED}" if "released" in experiment.protocol.protocols else ""),
    }


def _differing(config: ScoringConfig) -> str:
    """The fields that differ from their default, with the default."""
    values, fields = config.model_dump(), type(config).model_fields
    defaults = {name: field.get_default(call_default_factory=True) for name, field in fields.items()}
    found = [f"{name}={_shown(v)} ({_shown(defaults[name])})" for name, v in values.items() if v != defaults[name]]
    return f"{', '.join(found)}; in brackets the default" if found else _DEFAULT


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _folds(problems: Sequence[Problem], options: ProtocolOptions) -> str:
    folds = [
        fold
        for problem in problems
        for fold in _narrow(problem).validation_folds(options.folds, options.seen_fraction, options.fold_seed)
    ]
    seen, unseen = (range_of(len(getattr(f.task, side)) for f in folds) for side in ("seen", "unseen"))
    counts = [counts_of(f.task.seen, f.task.unseen, f.samples) for f in folds]
    held = [range_of(c[f"{side}_samples"] for c in counts) for side in ("unseen", "seen")]
    trained = range_of(len(fold.task.labels) for fold in folds)
    return (
        f"{options.folds} fold{'s' if options.folds > 1 else ''}: {trained} training samples of {seen} classes; "
        f"held out are {held[0]} samples of {unseen} pseudo-unseen classes and {held[1]} of the others"
    )


def _narrow(problem: Problem) -> Problem:
    """The problem with a single feature column: folds do not depend on features, which may be gigabytes.

    What is encoded stays as it is: folds are views of it.
    """

    def task(whole: Task) -> Task:
        return replace(whole, features=_first(whole.features), masked=_first(whole.masked))

    def samples(whole: Samples) -> Samples:
        return replace(whole, features=_first(whole.features))

    separate = problem.separate_validation
    separate = separate and (task(separate[0]), samples(separate[1]))
    return replace(problem, task=task(problem.task), test=samples(problem.test), separate_validation=separate)


def _first(values: Tensor | EncodedFrames | None) -> Tensor | EncodedFrames | None:
    return values if values is None or isinstance(values, EncodedFrames) else values[:, :1]
