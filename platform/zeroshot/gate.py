"""Joining a seen and an unseen classifier: the seen/unseen gate, and calibrated stacking."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import Tensor

from platform.zeroshot.metrics import harmonic_mean

if TYPE_CHECKING:
    from sklearn.linear_model import LogisticRegression

TEMPERATURES = tuple(float(t) for t in range(1, 10))  # the released code's range
THRESHOLDS = tuple(round(0.25 + 0.01 * i, 2) for i in range(50))  # the released code's range
_FOLDS = 5


@dataclass(frozen=True)
class Gate:
    """Domain classifier C_d (SynSE, Section 2.5; SA-DVAE, Eq. 11): the probability that a sample's class is seen.

    A logistic regression on the `top` largest seen probabilities at `temperature`, and the `top` largest unseen ones.
    coefficients: (2·top,). Soft: p(y|x) = p_d·p_s ⊕ (1 − p_d)·p_u. Hard: the side that p_d and `threshold` choose.
    """

    kind: Literal["soft", "hard"]
    temperature: float
    threshold: float
    top: int
    coefficients: tuple[float, ...]
    intercept: float

    def probability_seen(self, seen: Tensor, unseen: Tensor) -> Tensor:
        """(N,) p_d. seen: (N, S), unseen: (N, U) log-probabilities."""
        inputs = _gate_inputs(seen, unseen, self.temperature, self.top)
        return torch.sigmoid(inputs @ inputs.new_tensor(self.coefficients) + self.intercept)

    def scores(self, seen: Tensor, unseen: Tensor, p_seen: Tensor | None = None) -> Tensor:
        """(N, S + U) log p(y|x); −inf on the side that a hard gate closes. p_seen: (N,) in place of the gate's own."""
        p_seen = self.probability_seen(seen, unseen) if p_seen is None else p_seen
        return _joined(seen, unseen, p_seen if self.kind == "soft" else (p_seen > self.threshold).double())

    def curve_scores(self, seen: Tensor, unseen: Tensor, p_seen: Tensor | None = None) -> Tensor:
        """(N, S + U) of the soft gate: what the seen-unseen curve is drawn from, since a hard gate has no margin."""
        return _joined(seen, unseen, self.probability_seen(seen, unseen) if p_seen is None else p_seen)


@dataclass(frozen=True)
class Stacking:
    """Calibrated stacking (Chao et al., 2016): `bias` is taken from every seen score."""

    bias: float

    def scores(self, seen: Tensor, unseen: Tensor) -> Tensor:
        """(N, S + U). seen: (N, S), unseen: (N, U) log-probabilities."""
        return torch.cat([seen - self.bias, unseen], dim=1)

    curve_scores = scores


Combination = Gate | Stacking


def fit_gate(
    kind: Literal["soft", "hard"], seen: Tensor, unseen: Tensor, labels: Tensor, scale_temperature: bool = True
) -> tuple[Gate, Tensor]:
    """Fit a gate on held-out samples of which some have pseudo-unseen classes; temperature and threshold too.

    seen: (N, S), unseen: (N, U) log-probabilities; labels: (N,) in 0 … S + U − 1, at least two samples a side. The
    temperature and the threshold are those with the highest per-sample harmonic mean of out-of-fold decisions; few
    held-out samples so serve both for fitting and for choosing. Gives the gate, fitted on all samples, and the (N,)
    out-of-fold p_d, from which an honest validation metric can be taken.
    """
    classes = seen.shape[1]
    top = min(unseen.shape[1], classes)
    is_seen = (labels < classes).cpu().numpy()
    best = (-1.0, 1.0, 0.5, np.empty(0))
    for temperature in TEMPERATURES if scale_temperature else (1.0,):
        inputs = _gate_inputs(seen, unseen, temperature, top).cpu().numpy()
        p_seen = _out_of_fold(inputs, is_seen)
        thresholds = THRESHOLDS if kind == "hard" else (0.5,)
        values = _harmonic_means(kind, seen, unseen, labels, p_seen, thresholds)
        chosen = int(np.argmax(values))
        if values[chosen] > best[0]:
            best = (float(values[chosen]), temperature, thresholds[chosen], p_seen)
    _, temperature, threshold, p_seen = best
    inputs = _gate_inputs(seen, unseen, temperature, top).cpu().numpy()
    regression = _regression().fit(inputs, is_seen)
    coefficients = tuple(float(c) for c in regression.coef_[0])
    gate = Gate(kind, temperature, threshold, top, coefficients, float(regression.intercept_[0]))
    return gate, torch.as_tensor(p_seen, device=seen.device)


def fit_stacking(seen: Tensor, unseen: Tensor, labels: Tensor) -> Stacking:
    """The bias with the highest harmonic mean on held-out samples. Shapes as for `fit_gate`."""
    margin = (seen.max(1).values - unseen.max(1).values).sort().values
    margin = torch.unique(margin[:: max(1, len(margin) // 500)])
    # between the samples' margins: at one of them the decision hangs on a rounding error
    candidates = torch.cat([margin[:1] - 1, (margin[1:] + margin[:-1]) / 2, margin[-1:] + 1])
    values = [_accuracy(torch.cat([seen - bias, unseen], 1).argmax(1), labels, seen.shape[1]) for bias in candidates]
    return Stacking(float(candidates[int(np.argmax(values))]))


def _gate_inputs(seen: Tensor, unseen: Tensor, temperature: float, top: int) -> Tensor:
    """(N, 2·top): p'_s then p_u, each sorted and cut or filled with zeros to `top`."""
    tempered = torch.softmax(seen / temperature, dim=1)  # softmax(log p / T) is softmax(logits / T)
    return torch.cat([_top(tempered, top), _top(unseen.exp(), top)], dim=1).double()


def _top(probabilities: Tensor, count: int) -> Tensor:
    largest = probabilities.topk(min(count, probabilities.shape[1]), dim=1).values
    return torch.nn.functional.pad(largest, (0, count - largest.shape[1]))


def _joined(seen: Tensor, unseen: Tensor, p_seen: Tensor) -> Tensor:
    p_seen = p_seen[:, None]
    return torch.cat([seen + p_seen.log(), unseen + (1 - p_seen).log()], dim=1)


def _regression() -> "LogisticRegression":
    from sklearn.linear_model import LogisticRegression  # here, because a verb's help should not wait a second for it

    # both sides weigh the same, as the papers' code has by drawing as many seen samples as there are unseen ones
    return LogisticRegression(C=1.0, solver="lbfgs", max_iter=5000, class_weight="balanced")


def _out_of_fold(inputs: np.ndarray, is_seen: np.ndarray) -> np.ndarray:
    from sklearn.model_selection import StratifiedKFold

    folds = min(_FOLDS, int(is_seen.sum()), int((~is_seen).sum()))
    p_seen = np.empty(len(inputs))
    for fitted, left_out in StratifiedKFold(folds, shuffle=True, random_state=0).split(inputs, is_seen):
        p_seen[left_out] = _regression().fit(inputs[fitted], is_seen[fitted]).predict_proba(inputs[left_out])[:, 1]
    return p_seen


def _harmonic_means(
    kind: str, seen: Tensor, unseen: Tensor, labels: Tensor, p_seen: np.ndarray, thresholds: tuple[float, ...]
) -> list[float]:
    p_d = torch.as_tensor(p_seen, device=seen.device)
    if kind == "soft":
        return [_accuracy(_joined(seen, unseen, p_d).argmax(1), labels, seen.shape[1])]
    on_seen, on_unseen = seen.argmax(1), unseen.argmax(1) + seen.shape[1]
    return [_accuracy(torch.where(p_d > t, on_seen, on_unseen), labels, seen.shape[1]) for t in thresholds]


def _accuracy(predicted: Tensor, labels: Tensor, seen_classes: int) -> float:
    right, is_seen = (predicted == labels).double(), labels < seen_classes
    return harmonic_mean(right[is_seen].mean(), right[~is_seen].mean()).item()
