"""Zero-shot metrics. Scores are log-probabilities over classes numbered seen first, then unseen."""

from collections.abc import Sequence

import torch
from torch import Tensor

_TOP = 5  # of top-5 accuracy (ReGen, Tables 7 and 8)


def per_sample_accuracy(predicted: Tensor, labels: Tensor) -> float:
    """Share of samples predicted right. predicted, labels: (N,)."""
    return (predicted == labels).double().mean().item()


def per_class_accuracy(predicted: Tensor, labels: Tensor) -> float:
    """Mean over the classes that occur in `labels` of the share predicted right (Xian et al., 2018). Both: (N,).

    torchmetrics' macro average also counts classes that occur only among the predictions; in the generalised setting,
    where a seen sample may be taken for an unseen class, that would lower the seen accuracy.
    """
    return accuracy_by_class(predicted, labels).mean().item()


def accuracy_by_class(predicted: Tensor, labels: Tensor) -> Tensor:
    """(K,) share predicted right of each class that occurs in `labels`, in their order. predicted, labels: (N,)."""
    counts = torch.bincount(labels)
    right = torch.bincount(labels[predicted == labels], minlength=len(counts))
    occurs = counts > 0
    return right[occurs].double() / counts[occurs].double()


def among_first(scores: Tensor, labels: Tensor, count: int) -> Tensor:
    """(N,) whether a sample's class is among its `count` largest scores; of equal ones the first class counts first, as
    in an argmax. A class whose score is −∞ or NaN is never among them. scores: (N, C), labels: (N,)."""
    own = scores.gather(1, labels[:, None])
    earlier = torch.arange(scores.shape[1], device=scores.device) < labels[:, None]
    before = (scores > own) | ((scores == own) & earlier)
    return (before.sum(1) < count) & (own[:, 0] > -torch.inf)


def top5_accuracies(scores: Tensor, labels: Tensor) -> dict[str, float]:
    """`top5` and `top5_per_sample`: the share of samples whose class is among the five likeliest, mean over the classes
    that occur and over samples. Empty among five classes and fewer, where it says nothing. As `among_first` takes."""
    if scores.shape[1] <= _TOP:
        return {}
    found = torch.where(among_first(scores, labels, _TOP), labels, -1)
    return {"top5": per_class_accuracy(found, labels), "top5_per_sample": per_sample_accuracy(found, labels)}


def harmonic_mean(seen: Tensor, unseen: Tensor) -> Tensor:
    """H = 2su / (s + u), zero where both are zero (SA-DVAE, Table 4). seen, unseen: accuracies in [0, 1], one shape."""
    total = seen + unseen
    return torch.where(total > 0, 2 * seen * unseen / total.clamp_min(torch.finfo(total.dtype).tiny), 0.0)


def seen_unseen_curve(scores: Tensor, labels: Tensor, seen_classes: int) -> tuple[Tensor, Tensor]:
    """Per-class seen and unseen accuracy as a bias moves from all-seen to all-unseen decisions (Chao et al., 2016).

    scores: (N, C), labels: (N,). Returns two (K,) tensors: seen accuracy falls along them, unseen accuracy rises.
    """
    best_seen, seen_class = scores[:, :seen_classes].max(1)
    best_unseen, unseen_class = scores[:, seen_classes:].max(1)
    is_seen = labels < seen_classes
    right = torch.where(is_seen, seen_class == labels, unseen_class + seen_classes == labels)
    counts = torch.bincount(labels, minlength=scores.shape[1]).double()
    weight = right.double() / counts[labels]
    # a sample turns from its best seen to its best unseen class once the bias exceeds this margin
    margin, order = (best_seen - best_unseen).sort()
    seen_total = (counts[:seen_classes] > 0).sum().clamp_min(1)
    unseen_total = (counts[seen_classes:] > 0).sum().clamp_min(1)
    gained = torch.cumsum(torch.where(is_seen, 0.0, weight)[order], 0) / unseen_total
    lost = torch.cumsum(torch.where(is_seen, weight, 0.0)[order], 0) / seen_total
    zero, last = gained.new_zeros(1), torch.ones_like(is_seen)
    last[:-1] = margin[1:] > margin[:-1]  # samples of one margin turn together
    return lost[-1] - torch.cat([zero, lost[last]]), torch.cat([zero, gained[last]])


def area_under_seen_unseen_curve(scores: Tensor, labels: Tensor, seen_classes: int) -> float:
    """AUSUC: the area under the seen-unseen curve, in [0, 1]. scores: (N, C), labels: (N,)."""
    seen, unseen = seen_unseen_curve(scores, labels, seen_classes)
    return torch.trapezoid(unseen.flip(0), seen.flip(0)).item()


def generalised_metrics(scores: Tensor, labels: Tensor, seen_classes: int) -> dict[str, float]:
    """Seen, unseen and harmonic mean of decisions over all classes, per class and per sample. scores: (N, C)."""
    predicted, is_seen = scores.argmax(1), labels < seen_classes
    metrics = {}
    for suffix, accuracy in (("", per_class_accuracy), ("_per_sample", per_sample_accuracy)):
        seen = accuracy(predicted[is_seen], labels[is_seen])
        unseen = accuracy(predicted[~is_seen], labels[~is_seen])
        metrics[f"seen{suffix}"], metrics[f"unseen{suffix}"] = seen, unseen
        metrics[f"harmonic_mean{suffix}"] = harmonic_mean(*torch.tensor([seen, unseen], dtype=torch.float64)).item()
    return metrics


def purity(clusters: Tensor, labels: Tensor) -> tuple[float, float]:
    """Shares of samples in their cluster's largest class (CLASTER, Eq. 7), and in their class's largest cluster.

    With fewer clusters than classes the first cannot come near 1 (6 clusters of 51 equal classes: 0.12), so the 0.77
    and 0.89 of CLASTER's Section 5.6 must be the second, which is what its Fig. 5 shows. clusters, labels: (N,).
    """
    counts = torch.zeros(int(clusters.max()) + 1, int(labels.max()) + 1, dtype=torch.long, device=clusters.device)
    counts.index_put_((clusters, labels), torch.ones_like(labels), accumulate=True)
    return tuple((counts.amax(dim=axis).sum() / len(labels)).item() for axis in (1, 0))


def unique_words(captions: Sequence[str], labels: Tensor) -> dict[int, int]:
    """By label, how many different words, whatever their case, its captions have together (ReGen, Fig. 2).

    captions, labels: (N,).
    """
    words: dict[int, set[str]] = {}
    for label, caption in zip(labels.tolist(), captions, strict=True):
        words.setdefault(label, set()).update(caption.lower().split())
    return {label: len(own) for label, own in words.items()}
