"""The papers' figures, drawn by matplotlib from plain arrays, and their SVG for a page."""

import io
import re
from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
import torch
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits

from platform.population.draws import generator
from platform.report.localities import LookedAt
from platform.report.style import STYLE, WIDTH, colour_of, legend_columns

_POINTS = 1000  # of a t-SNE, at most
_MOST_CLASSES = 30  # up to so many a confusion matrix shows all rows
_RIGHT, _WRONG = "#0072B2", "#F0E442"  # as ERPCNet's: blue, yellow


def latents_figure(
    latents: Mapping[str, np.ndarray], labels: np.ndarray, class_names: Sequence[str], seen: int, seed: int = 0
) -> Figure:
    """t-SNE of each latent side by side, unseen classes coloured, seen ones grey (SA-DVAE, Fig. 6).

    latents: (N, width) by name; labels: (N,), classes numbered seen first; seen: how many there are. At most 1000
    samples are drawn.
    """
    draw = generator(seed, "t-SNE")
    rows = torch.randperm(len(labels), generator=draw)[:_POINTS].numpy()
    shown = labels[rows]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 0.6 * WIDTH if len(latents) > 1 else 0.9 * WIDTH), layout="constrained")
        for place, (axes, (name, values)) in enumerate(
            zip(np.atleast_1d(figure.subplots(1, len(latents))), latents.items(), strict=True)
        ):
            perplexity = min(30.0, (len(rows) - 1) / 3)
            with threadpool_limits(1):  # several threads are a hundred times slower on busy cores
                tsne = TSNE(perplexity=perplexity, random_state=seed, init="pca")
                points = tsne.fit_transform(np.asarray(values)[rows])
            axes.scatter(*points[shown < seen].T, s=4, color="#cccccc", label="seen" if place == 0 else None)
            for number, label in enumerate(sorted(set(shown[shown >= seen].tolist()))):
                own = points[shown == label]
                axes.scatter(*own.T, s=8, color=colour_of(number), label=class_names[label] if place == 0 else None)
            axes.set(title=name, xticks=[], yticks=[])
        figure.legend(loc="outside lower center", ncols=3, fontsize=7, markerscale=2, frameon=False)
    return figure


def per_class_figure(accuracies: Mapping[str, Mapping[str, float]]) -> Figure:
    """Bars of each class's accuracy, a group a class, a colour a model (SA-DVAE, Fig. 5). accuracies: in [0, 1]."""
    names = list(dict.fromkeys(name for own in accuracies.values() for name in own))
    height = 0.8 / len(accuracies)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 1.2 + len(names) * max(0.25, 0.09 * len(accuracies))), layout="constrained")
        axes = figure.subplots()
        for number, (model, own) in enumerate(accuracies.items()):
            places = [place + number * height for place, name in enumerate(names) if name in own]
            values = [100 * own[name] for name in names if name in own]
            axes.barh(places, values, height, color=colour_of(number), label=model)
        axes.set_yticks([place + 0.4 - height / 2 for place in range(len(names))], names)
        axes.set(xlabel="accuracy, %", xlim=(0, 100))
        axes.invert_yaxis()
        figure.legend(loc="outside lower center", ncols=legend_columns([*accuracies]), fontsize=7, frameon=False)
    return figure


def confusion_figure(counts: np.ndarray, class_names: Sequence[str], seen: int) -> Figure:
    """Shares of each true class's samples by predicted class. counts: (C, C), true by predicted, seen classes first.

    With more than 30 classes only the rows of unseen classes.
    """
    first = seen if len(class_names) > _MOST_CLASSES else 0
    shares = counts[first:] / np.maximum(counts[first:].sum(axis=1, keepdims=True), 1)
    with matplotlib.rc_context({**STYLE, "font.size": 7}):
        figure = Figure(figsize=(WIDTH, WIDTH * max(0.4, len(shares) / len(class_names))), layout="constrained")
        axes = figure.subplots()
        image = axes.imshow(shares, vmin=0, vmax=1, cmap="Blues", aspect="auto")
        axes.set_xticks(range(len(class_names)), class_names, rotation=90)
        axes.set_yticks(range(len(shares)), class_names[first:])
        axes.set(xlabel="predicted", ylabel="true")
        axes.axvline(seen - 0.5, color="#D55E00", linewidth=0.8)
        if not first:
            axes.axhline(seen - 0.5, color="#D55E00", linewidth=0.8)
        figure.colorbar(image, ax=axes, shrink=0.6)
    return figure


def clusters_figure(
    clusters: Mapping[str, np.ndarray], labels: np.ndarray, class_names: Sequence[str], seen: int
) -> Figure:
    """Each class's share of samples in each cluster, side by side, as before and after (CLASTER, Fig. 5).

    clusters: (N,) by name; labels: (N,), classes numbered seen first, of which a line parts the unseen ones.
    """
    width = 1 + max(int(chosen.max()) for chosen in clusters.values())
    rows = sorted(set(labels.tolist()))
    with matplotlib.rc_context({**STYLE, "font.size": 7}):
        figure = Figure(figsize=(WIDTH, 0.9 + 0.13 * len(rows)), layout="constrained")
        all_axes = np.atleast_1d(figure.subplots(1, len(clusters), sharey=True))
        for axes, (name, chosen) in zip(all_axes, clusters.items(), strict=True):
            counts = np.zeros((len(class_names), width))
            np.add.at(counts, (labels, chosen), 1)
            shares = counts[rows] / counts[rows].sum(axis=1, keepdims=True)
            image = axes.imshow(shares, vmin=0, vmax=1, cmap="Blues", aspect="auto")
            axes.axhline(sum(row < seen for row in rows) - 0.5, color="#D55E00", linewidth=0.8)
            axes.set(title=name, xlabel="cluster")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        all_axes[0].set_yticks(range(len(rows)), [class_names[row] for row in rows])
        figure.colorbar(image, ax=list(all_axes), shrink=0.6)
    return figure


def learning_figure(curves: Mapping[str, Mapping[str, Sequence[float]]]) -> Figure:
    """Accuracies epoch by epoch: of seen classes, training (dashed) and held out, and of unseen ones (CLASTER, Fig. 1).

    curves: by model, `accuracy` of training samples, `seen_alone` and `zsl` of held-out ones, in [0, 1].
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 0.55 * WIDTH), layout="constrained")
        sides = figure.subplots(1, 2)
        for number, (name, own) in enumerate(curves.items()):
            for axes, metric, line in (
                (sides[0], "accuracy", "--"),
                (sides[0], "seen_alone", "-"),
                (sides[1], "zsl", "-"),
            ):
                values = 100 * np.asarray(own.get(metric, ()))
                label = name if metric == "zsl" else None
                how = {"linewidth": 1, "marker": "." if len(values) == 1 else None}  # of one epoch there is no line
                axes.plot(np.arange(1, len(values) + 1), values, line, color=colour_of(number), label=label, **how)
        sides[0].set(title="seen classes: training (dashed), held out", xlabel="epoch", ylabel="accuracy, %")
        sides[1].set(title="pseudo-unseen classes", xlabel="epoch")
        for axes in sides:
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        figure.legend(loc="outside lower center", ncols=legend_columns([*curves], 2), fontsize=7, frameon=False)
    return figure


def seen_unseen_figure(curves: Mapping[str, tuple[np.ndarray, np.ndarray]], areas: Mapping[str, float]) -> Figure:
    """Unseen over seen accuracy as a bias moves from one side to the other, with the area below (Chao et al., 2016).

    curves: seen and unseen accuracies in [0, 1]; areas: AUSUC in [0, 1].
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 0.75 * WIDTH), layout="constrained")
        axes = figure.subplots()
        for number, (name, (seen, unseen)) in enumerate(curves.items()):
            label = f"{name}: AUSUC {100 * areas[name]:.1f}"
            axes.plot(100 * np.asarray(seen), 100 * np.asarray(unseen), color=colour_of(number), label=label)
        axes.set(xlabel="seen accuracy, %", ylabel="unseen accuracy, %", xlim=(0, 100), ylim=(0, 100))
        axes.legend(fontsize=7, frameon=False)
    return figure


def step_accuracy_figure(curves: Mapping[str, np.ndarray]) -> Figure:
    """Accuracy with at most 0 … T looks, a line a model (ERPCNet, Fig. 5(b)). curves: (T + 1,) in [0, 1] by model."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 0.6 * WIDTH), layout="constrained")
        axes = figure.subplots()
        for number, (name, values) in enumerate(curves.items()):
            axes.plot(range(len(values)), 100 * np.asarray(values), "o-", color=colour_of(number), label=name, ms=3)
        axes.set_xticks(range(max(len(values) for values in curves.values())))
        axes.set(xlabel="looks at most", ylabel="accuracy, %")
        axes.legend(fontsize=7, frameon=False)
    return figure


def failures_figure(failures: Mapping[str, np.ndarray]) -> Figure:
    """Bars of the samples that each look made a failure, a colour a model (ERPCNet, Table 3). failures: (T,) counts."""
    width = 0.8 / len(failures)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 0.5 * WIDTH), layout="constrained")
        axes = figure.subplots()
        for number, (name, counts) in enumerate(failures.items()):
            places = np.arange(1, len(counts) + 1) - 0.4 + (number + 0.5) * width
            axes.bar(places, counts, width, color=colour_of(number), label=f"{name}: {int(np.sum(counts))}")
        axes.set_xticks(range(1, 1 + max(len(counts) for counts in failures.values())))
        axes.yaxis.get_major_locator().set_params(integer=True)
        axes.set(xlabel="look", ylabel="samples")
        axes.legend(fontsize=7, frameon=False)
    return figure


def looks_figure(pictures: Sequence[LookedAt]) -> Figure:
    """Pictures with where a model looked, each look's number and the confidence after it (ERPCNet, Fig. 6 and 10).

    Blue where the prediction is right after that look, yellow where it is wrong; look 0 is the picture as a whole.
    """
    rows = -(-len(pictures) // 2)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 0.56 * WIDTH * rows), layout="constrained")
        for axes, shown in zip(figure.subplots(rows, 2, squeeze=False).flat, pictures, strict=False):
            # without resampling, which would blow up the SVG
            axes.imshow(shown.picture, extent=(0, shown.stored, shown.stored, 0), interpolation="none")
            whole = (0, 0, shown.stored, shown.stored)
            for look, (box, confidence, right) in enumerate(
                zip([whole, *shown.boxes.tolist()], shown.confidences, shown.right, strict=True)
            ):
                left, top, right_edge, bottom = box
                colour = _RIGHT if right else _WRONG
                size = right_edge - left, bottom - top
                axes.add_patch(Rectangle((left, top), *size, fill=False, edgecolor=colour, linewidth=1.5))
                axes.text(
                    *(left, top),
                    f"{look}: {100 * confidence:.0f} %",
                    va="bottom" if look == 0 else "top",
                    fontsize=6,
                    color="white" if right else "black",
                    bbox={"facecolor": colour, "edgecolor": "none", "pad": 0.8},
                )
            said = shown.true if shown.right[-1] else f"{shown.true}, taken for {shown.predicted}"
            axes.set_title(said, fontsize=8, pad=10)
        for axes in figure.axes:
            axes.set_axis_off()
    return figure


def sensitivity_figure(points: Sequence[tuple[float, float, float]], metric: str) -> Figure:
    """A metric over both betas (SA-DVAE, Table B). points: beta_x, beta_y and the metric in percent."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 0.6 * WIDTH), layout="constrained")
        axes = figure.subplots()
        beta_x, beta_y, values = np.array(points, dtype=float).T
        drawn = axes.scatter(beta_x, beta_y, c=values, cmap=colormaps["viridis"], s=60)
        for x, y, value in points:
            axes.annotate(f"{value:.1f}", (x, y), xytext=(0, 7), textcoords="offset points", ha="center", fontsize=7)
        if (beta_x > 0).all() and (beta_y > 0).all():
            axes.set(xscale="log", yscale="log")
        axes.margins(0.15)
        axes.set(xlabel="beta_x", ylabel="beta_y")
        figure.colorbar(drawn, ax=axes, label=f"{metric}, %")
    return figure


def svg(figure: Figure, name: str) -> str:
    """Self-contained, reproducible SVG. name: makes its ids unique on a page."""
    text = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": name, "svg.fonttype": "none"}):
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    shown = text.getvalue()
    shown = shown[shown.index("<svg") :]
    prefix = re.sub(r"\W+", "-", name)
    shown = re.sub(r'\bid="([^"]+)"', rf'id="{prefix}-\1"', shown)
    return re.sub(r'(href="#|url\(#)', rf"\g<1>{prefix}-", shown)
