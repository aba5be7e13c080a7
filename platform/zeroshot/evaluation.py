"""A model's metrics on labelled samples."""

import torch
from torch import Tensor

from platform.method import Model
from platform.zeroshot.metrics import (
    area_under_seen_unseen_curve,
    generalised_metrics,
    per_class_accuracy,
    per_sample_accuracy,
)
from platform.zeroshot.task import Samples


def zero_shot_metrics(model: Model, samples: Samples) -> dict[str, float]:
    """`zsl` and `zsl_per_sample`: accuracy among the unseen classes alone, on the samples of unseen classes."""
    unseen = samples.where(samples.labels >= len(model.seen))
    return zero_shot_from_scores(model.unseen_scores(unseen.features), unseen.labels, len(model.seen))


def zero_shot_from_scores(unseen: Tensor, labels: Tensor, seen_classes: int) -> dict[str, float]:
    """The same from (N, U) scores of unseen classes; samples of seen classes do not count. labels: (N,)."""
    counted = labels >= seen_classes
    predicted, labels = unseen[counted].argmax(1), labels[counted] - seen_classes
    return {
        "zsl": per_class_accuracy(predicted, labels),
        "zsl_per_sample": per_sample_accuracy(predicted, labels),
    }


def all_metrics(model: Model, samples: Samples) -> dict[str, float]:
    """Zero-shot metrics; seen, unseen and harmonic mean over all classes, per class and per sample; and the AUSUC."""
    scores = model.scores(samples.features, samples.logits)
    curve = model.curve_scores(samples.features, samples.logits)
    return {**zero_shot_metrics(model, samples), **joint_metrics(scores, curve, samples.labels, len(model.seen))}


def joint_metrics(scores: Tensor, curve: Tensor, labels: Tensor, seen_classes: int) -> dict[str, float]:
    """Generalised metrics of decisions by `scores`, and the AUSUC of `curve`. Both: (N, C)."""
    finite = torch.nan_to_num(curve.double(), nan=-1e9, neginf=-1e9)
    return {
        **generalised_metrics(scores, labels, seen_classes),
        "ausuc": area_under_seen_unseen_curve(finite, labels, seen_classes),
    }
