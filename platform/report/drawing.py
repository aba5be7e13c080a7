"""The figures of a comparison, drawn from the saved models and the test samples."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from platform.errors import InputError
from platform.report.comparison import HEADINGS, row_names
from platform.report.figures import (
    failures_figure,
    learning_figure,
    per_class_figure,
    seen_unseen_figure,
    sensitivity_figure,
    step_accuracy_figure,
    svg,
)
from platform.report.inspection import Inspection, inspect
from platform.report.results import Result, validation_curves
from platform.tracking.store import download_model
from platform.training.tested import model_and_samples

_MOST = 8  # most rows of a comparison to draw
_BETAS = ("beta_x", "beta_y")
_FEWEST_POINTS = 3  # least number of pairs of betas for a sensitivity figure


def figures_of(
    results: Sequence[Result], runs: Path, say: Callable[[str], None], device: str = "auto"
) -> dict[str, str]:
    """SVG by caption: each row's first seed, single models under the clean protocol, on the split that most rows have.

    runs: folder of the MLflow store. A model that is missing, or whose data folder is, is reported and left out.
    """
    place, chosen = _chosen(results)
    drawn: dict[str, Inspection] = {}
    learning: dict[str, Mapping[str, Sequence[float]]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for number, (name, result) in enumerate(chosen[:_MOST]):
            try:
                folder = _folder(result, runs, Path(scratch) / str(number))
                model, samples, _ = model_and_samples(folder, device=device)
            except InputError as error:
                say(f"no figures of {name}: {error}")
                continue
            drawn[name] = inspect(model, samples)
            if model.learns_seen_classes:
                learning[name] = validation_curves(result, runs, ("accuracy", "seen_alone", "zsl"))
    if len(chosen) > _MOST:
        say(f"figures of the first {_MOST} of {len(chosen)} rows; choose others with --methods")
    figures: dict[str, Figure] = {}
    if drawn:
        accuracies = {name: found.unseen_accuracies for name, found in drawn.items()}
        figures[f"{place}: accuracy of each unseen class among the unseen"] = per_class_figure(accuracies)
        curves, areas = ({n: getattr(found, part) for n, found in drawn.items()} for part in ("curve", "ausuc"))
        figures[f"{place}: seen and unseen accuracy as a bias moves between them"] = seen_unseen_figure(curves, areas)
    if looks := {name: found.looking for name, found in drawn.items() if found.looking}:
        curves = {name: own.accuracies for name, own in looks.items()}
        figures[f"{place}: accuracy among the unseen with so many looks at most"] = step_accuracy_figure(curves)
        failures = {name: own.failures for name, own in looks.items()}
        figures[f"{place}: unseen samples no longer recognised from a look on"] = failures_figure(failures)
    if learning:
        figures[f"{place}: learning curves of validation"] = learning_figure(learning)
    for name, found in drawn.items():
        figures |= {f"{place}, {name}: {what}": figure for what, figure in found.figures().items()}
    shown = {caption: svg(figure, f"figure-{number}") for number, (caption, figure) in enumerate(figures.items())}
    return shown | sensitivities(results)


def sensitivities(results: Sequence[Result], metric: str = "harmonic_mean") -> dict[str, str]:
    """SVG by caption: a method's metric over its betas, clean protocol, of three or more (SA-DVAE, Table B)."""
    values: dict[str, dict[tuple[float, float], list[float]]] = {}
    for result in results:
        if result.protocol == "clean" and result.kind == "single" and all(name in result.config for name in _BETAS):
            betas = tuple(float(result.config[name]) for name in _BETAS)
            values.setdefault(result.method, {}).setdefault(betas, []).append(100 * result.metrics[metric])
    return {
        f"{method}: {HEADINGS[metric]} by beta_x and beta_y, mean over seeds and splits": svg(
            sensitivity_figure([(*betas, sum(own) / len(own)) for betas, own in points.items()], HEADINGS[metric]),
            f"sensitivity-{method}",
        )
        for method, points in values.items()
        if len(points) >= _FEWEST_POINTS
    }


def _chosen(results: Sequence[Result]) -> tuple[str, list[tuple[str, Result]]]:
    """The data set and split that most rows were tested on, and the result of each row's first seed there."""
    rows: dict[tuple[str, str], dict[str, Result]] = {}
    named = sorted(zip(row_names(results), results, strict=True), key=lambda pair: pair[1].seed)
    for name, result in named:
        if result.protocol == "clean" and result.kind == "single" and result.model:
            own = rows.setdefault((result.data.name, result.data.split), {})
            own.setdefault(f"{name}, {result.data.features}", result)
    if not rows:
        return "", []
    place = max(rows, key=lambda place: len(rows[place]))
    return " ".join(place), sorted(rows[place].items())


def _folder(result: Result, runs: Path, scratch: Path) -> Path:
    """The model's own folder, or a copy of what MLflow keeps."""
    if not result.model.startswith("runs:/"):
        return Path(result.model)
    return download_model(runs, result.model.removeprefix("runs:/"), result.protocol, scratch)
