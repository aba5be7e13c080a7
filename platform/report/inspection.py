"""One model's decisions on the test samples, class by class."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.figure import Figure

from platform.capabilities import clusters_of, model_for
from platform.method import Model
from platform.report.describing import Describing, describing
from platform.report.figures import clusters_figure, confusion_figure, latents_figure, looks_figure
from platform.report.localities import Looking, looking
from platform.zeroshot.metrics import area_under_seen_unseen_curve, seen_unseen_curve
from platform.zeroshot.task import Samples


@dataclass(frozen=True)
class Inspection:
    """A model's decisions on N test samples of S seen and U unseen classes.

    unseen_accuracies: among the unseen classes alone, in [0, 1]; confusion: (C, C) counts over all classes, true by
    predicted; curve: seen and unseen accuracies (K,) each; latents: (N, width) by name; clusters: (N,) by name;
    looking: of a model that looks step by step; describing: of one that describes clips.
    """

    class_names: tuple[str, ...]
    seen: int
    labels: np.ndarray
    unseen_accuracies: Mapping[str, float]
    confusion: np.ndarray
    curve: tuple[np.ndarray, np.ndarray]
    ausuc: float
    latents: Mapping[str, np.ndarray]
    clusters: Mapping[str, np.ndarray]
    looking: Looking | None
    describing: Describing | None = None

    def figures(self) -> dict[str, Figure]:
        """Figures by caption."""
        found = {"confusion over all classes": confusion_figure(self.confusion, self.class_names, self.seen)}
        if self.latents:
            title = f"t-SNE of {', '.join(self.latents)}"
            found[title] = latents_figure(self.latents, self.labels, self.class_names, self.seen)
        if self.clusters:
            shares = clusters_figure(self.clusters, self.labels, self.class_names, self.seen)
            found[f"share of each class in each cluster, {' and '.join(self.clusters)}"] = shares
        if self.looking and self.looking.pictures:
            found["looks at some pictures of unseen classes"] = looks_figure(self.looking.pictures)
        return found


def inspect(model: Model, samples: Samples) -> Inspection:
    """samples: as `Task` numbers classes, some of each side."""
    seen, names = len(model.seen), (*model.seen, *model.unseen)
    unseen = samples.where(samples.labels >= seen)
    right = model.unseen_scores(unseen.features).argmax(dim=1) + seen == unseen.labels
    looks = looking(model, unseen)  # right after the scores of the same samples, which a model may have cached
    given = model_for(model, samples)
    predicted = given.scores(samples.features).argmax(dim=1)
    curve = torch.nan_to_num(given.curve_scores(samples.features).double(), nan=-1e9, neginf=-1e9)
    confusion = torch.bincount(samples.labels * len(names) + predicted, minlength=len(names) ** 2)
    return Inspection(
        class_names=names,
        seen=seen,
        labels=samples.labels.numpy(force=True),
        unseen_accuracies={
            names[label]: right[unseen.labels == label].double().mean().item()
            for label in unseen.labels.unique().tolist()
        },
        confusion=confusion.view(len(names), len(names)).numpy(force=True),
        curve=tuple(side.numpy(force=True) for side in seen_unseen_curve(curve, samples.labels, seen)),
        ausuc=area_under_seen_unseen_curve(curve, samples.labels, seen),
        latents={name: values.numpy(force=True) for name, values in model.latents(samples.features).items()},
        clusters={name: chosen.numpy(force=True) for name, chosen in clusters_of(model, samples.features).items()},
        looking=looks,
        describing=describing(model, unseen),
    )
