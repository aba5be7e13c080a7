"""A model's metrics on labelled samples."""

import torch
from torch import Tensor

from platform.capabilities import captions_of, clusters_of, model_for, steps_of
from platform.method import Model
from platform.zeroshot.cider import cider
from platform.zeroshot.metrics import (
    accuracy_by_class,
    area_under_seen_unseen_curve,
    generalised_metrics,
    per_class_accuracy,
    per_sample_accuracy,
    purity,
    top5_accuracies,
    unique_words,
)
from platform.zeroshot.task import Samples

_CLUSTERED_AT_ONCE = 2048  # samples at a time: a model's outputs on a whole training set may not fit into memory


def zero_shot_metrics(model: Model, samples: Samples) -> dict[str, float]:
    """`zsl` and `zsl_per_sample`: accuracy among the unseen classes alone, on the samples of unseen classes."""
    unseen = samples.where(samples.labels >= len(model.seen))
    return zero_shot_from_scores(model.unseen_scores(unseen.features), unseen.labels, len(model.seen))


def zero_shot_by_class(model: Model, samples: Samples) -> tuple[dict[str, float], list[float]]:
    """`zero_shot_metrics`, and the accuracy on each unseen class that has samples."""
    unseen = samples.where(samples.labels >= len(model.seen))
    scores, first = model.unseen_scores(unseen.features), len(model.seen)
    by_class = accuracy_by_class(scores.argmax(1), unseen.labels - first).tolist()
    return zero_shot_from_scores(scores, unseen.labels, first), by_class


def zero_shot_from_scores(unseen: Tensor, labels: Tensor, seen_classes: int) -> dict[str, float]:
    """The same from (N, U) scores of unseen classes; samples of seen classes do not count. labels: (N,)."""
    counted = labels >= seen_classes
    predicted, labels = unseen[counted].argmax(1), labels[counted] - seen_classes
    return {
        "zsl": per_class_accuracy(predicted, labels),
        "zsl_per_sample": per_sample_accuracy(predicted, labels),
    }


def seen_alone(model: Model, samples: Samples) -> dict[str, float]:
    """`seen_alone`: accuracy among the seen classes, for models with their own seen classifier."""
    if not model.learns_seen_classes:
        return {}
    seen = samples.where(samples.labels < len(model.seen))
    predicted = model_for(model, seen).seen_scores(seen.features).argmax(1)
    return {"seen_alone": per_class_accuracy(predicted, seen.labels)}


def cluster_metrics(model: Model, samples: Samples, device: torch.device) -> dict[str, float]:
    """`purity_NAME` and `class_purity_NAME` of the model's own clusters, where it has some; see `purity`.

    device: the model's; samples are copied there in parts, since the pictures of a data set take gigabytes.
    """
    parts, metrics = [clusters_of(model, x.to(device)) for x in samples.features.split(_CLUSTERED_AT_ONCE)], {}
    for name in parts[0]:
        chosen = torch.cat([part[name] for part in parts]).to(samples.labels.device)
        metrics[f"purity_{name}"], metrics[f"class_purity_{name}"] = purity(chosen, samples.labels)
    return metrics


def step_metrics(model: Model, samples: Samples) -> dict[str, float]:
    """`average_steps` until a stepwise model stops, on the samples of unseen classes; a count, not a share."""
    steps = steps_of(model, samples.features[samples.labels >= len(model.seen)])
    return {} if steps is None else {"average_steps": steps.average}


def caption_metrics(model: Model, samples: Samples) -> dict[str, float]:
    """`caption_words` and `caption_unique_words` of a model that describes samples: means of a caption's words, and of
    the different words in all captions of a class (ReGen, Fig. 2).

    Also `cider`, where samples of unseen classes have references: CIDEr-D of their captions (ReGen, Table 9), over
    those that have some; the papers print it times 100.
    """
    captions = captions_of(model, samples.features)
    if captions is None:
        return {}
    unique = unique_words(captions, samples.labels)
    references = samples.references or [()] * len(captions)
    told = zip(samples.labels.tolist(), captions, references, strict=True)
    described = [(caption, own) for label, caption, own in told if own and label >= len(model.seen)]
    return {
        "caption_words": sum(len(caption.split()) for caption in captions) / len(captions),
        "caption_unique_words": sum(unique.values()) / len(unique),
        **({"cider": cider(*zip(*described, strict=True))} if described else {}),
    }


def all_metrics(model: Model, samples: Samples) -> dict[str, float]:
    """Zero-shot metrics; seen, unseen and harmonic mean over all classes, per class and per sample; and the AUSUC.

    Also the top-5 accuracies `zsl_top5`, `seen_top5` and `unseen_top5`, per class and per sample, where more than five
    classes are to choose among. They are of the test alone: no epoch and no configuration is chosen by them.
    """
    given, labels, first = model_for(model, samples), samples.labels, len(model.seen)
    scores, curve = given.scores(samples.features), given.curve_scores(samples.features)
    is_unseen = labels >= first
    unseen = model.unseen_scores(samples.features[is_unseen])
    top5 = {
        "zsl": top5_accuracies(unseen, labels[is_unseen] - first),
        "seen": top5_accuracies(scores[~is_unseen], labels[~is_unseen]),
        "unseen": top5_accuracies(scores[is_unseen], labels[is_unseen]),
    }
    return {
        **zero_shot_from_scores(unseen, labels[is_unseen], first),
        **joint_metrics(scores, curve, labels, first),
        **{f"{side}_{name}": value for side, found in top5.items() for name, value in found.items()},
    }


def joint_metrics(scores: Tensor, curve: Tensor, labels: Tensor, seen_classes: int) -> dict[str, float]:
    """Generalised metrics of decisions by `scores`, and the AUSUC of `curve`. Both: (N, C)."""
    finite = torch.nan_to_num(curve.double(), nan=-1e9, neginf=-1e9)
    return {
        **generalised_metrics(scores, labels, seen_classes),
        "ausuc": area_under_seen_unseen_curve(finite, labels, seen_classes),
    }
