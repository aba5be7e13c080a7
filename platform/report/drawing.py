"""The figures of a comparison, drawn from the saved models and the test samples."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from platform.errors import InputError
from platform.report.caption_figures import attention_figure, captions_figure, unique_words_figure
from platform.report.comparison import HEADINGS, row_names
from platform.report.describing import Describing
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
from platform.report.verdicts import names_of
from platform.tracking.store import download_model
from platform.training.tested import model_and_samples

_MOST = 8  # most rows of a comparison to draw
_BETAS = ("beta_x", "beta_y")
_FEWEST_POINTS = 3  # least number of pairs of betas for a sensitivity figure


def figures_of(
    results: Sequence[Result],
    runs: Path,
    say: Callable[[str], None],
    device: str = "auto",
    against: str | None = None,
) -> dict[str, str]:
    """SVG by caption: each row's first seed, single models under the clean protocol, on the split that most rows have.

    runs: folder of the MLflow store; against: the method or row from which the change of unique words is counted, where
    one row alone is so named; else the row whose captions have the fewest. A model that is missing, or whose data
    folder is, is reported and left out.
    """
    place, chosen = _chosen(results)
    bases = [name for name, result in chosen if against in names_of(result)]
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
    for number, told in enumerate(_told_together(drawn)):
        which = f"{place} ({number + 1})" if number else place  # of other clips than the first
        figures |= {f"{which}: {what}": figure for what, figure in _caption_figures(told, bases).items()}
    if learning:
        figures[f"{place}: learning curves of validation"] = learning_figure(learning)
    for name, found in drawn.items():
        figures |= {f"{place}, {name}: {what}": figure for what, figure in found.figures().items()}
    shown = {caption: svg(figure, f"figure-{number}") for number, (caption, figure) in enumerate(figures.items())}
    return shown | sensitivities(results)


def _told_together(drawn: Mapping[str, Inspection]) -> list[dict[str, Describing]]:
    """The models that describe clips, those of the same clips together."""
    groups: dict[tuple[str, ...], dict[str, Describing]] = {}
    for name, found in drawn.items():
        if found.describing:
            groups.setdefault(found.describing.keys, {})[name] = found.describing
    return list(groups.values())


def _caption_figures(told: Mapping[str, Describing], against: Sequence[str]) -> dict[str, Figure]:
    """ReGen's Fig. 2, 4 and 3 by caption."""
    counts = {name: own.unique_words for name, own in told.items()}
    base, said = None, "unique words in the captions of each unseen class"
    if len(told) > 1:
        fewest = min(counts, key=lambda name: sum(counts[name].values()))
        base = against[0] if len(against) == 1 and against[0] in told else fewest
        said += f"; change against {base}"
    figures = {said: unique_words_figure(counts, base)}
    clips = {name: own.clips for name, own in told.items()}
    if any(clips.values()):
        said = "captions of clips of unseen classes, drawn at random, and the unseen class that each was taken for"
        figures[said] = captions_figure(clips)
    for number, same in enumerate(zip(*clips.values(), strict=True)):
        own = {name: clip for name, clip in zip(clips, same, strict=True) if clip.attention}
        if own:
            of = "; ".join(dict.fromkeys(clip.attention.of for clip in own.values()))
            said = f"attention of captions of clip {number + 1} above, {same[0].true}: a row for each token as it was "
            said += f"chosen, and its map over a frame, from its least to its most ({of})"
            figures[said] = attention_figure(own)
    return figures


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
