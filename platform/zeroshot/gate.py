"""Joining a seen and an unseen classifier: the seen/unseen gate, and calibrated stacking."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from platform.zeroshot.metrics import harmonic_mean

TEMPERATURES = tuple(float(t) for t in range(1, 10))  # the released code's range
THRESHOLDS = tuple(round(0.25 + 0.01 * i, 2) for i in range(50))  # the released code's range
_FOLDS = 5
_NEWTON_STEPS, _HALVINGS, _TOLERANCE = 100, 5, 1e-9


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
    is_seen = labels < classes
    left_out = _folds(is_seen)
    best = (-1.0, 1.0, 0.5, torch.empty(0))
    for temperature in TEMPERATURES if scale_temperature else (1.0,):
        inputs = _gate_inputs(seen, unseen, temperature, top)
        p_seen = _out_of_fold(inputs, is_seen, left_out)
        thresholds = THRESHOLDS if kind == "hard" else (0.5,)
        values = _harmonic_means(kind, seen, unseen, labels, p_seen, thresholds)
        chosen = int(np.argmax(values))
        if values[chosen] > best[0]:
            best = (float(values[chosen]), temperature, thresholds[chosen], p_seen)
    _, temperature, threshold, p_seen = best
    fitted = fit_logistic(_gate_inputs(seen, unseen, temperature, top), is_seen, torch.ones_like(is_seen)[None])[0]
    gate = Gate(kind, temperature, threshold, top, tuple(fitted[:-1].tolist()), fitted[-1].item())
    return gate, p_seen


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


def fit_logistic(inputs: Tensor, positive: Tensor, counted: Tensor) -> Tensor:
    """L2-penalised logistic regressions by Newton's method, one for each choice of samples; (K, F + 1), bias last.

    inputs: (N, F); positive: (N,) bool; counted: (K, N) bool. scikit-learn's objective with C = 1 and balanced classes,
    as the papers' code balances by drawing as many seen samples as there are unseen ones; a search fits it some fifty
    times a trial, which there takes half a second.
    """
    x = torch.cat([inputs, inputs.new_ones(len(inputs), 1)], dim=1)
    sign = torch.where(positive, 1.0, -1.0).to(x)
    sides = torch.stack([counted & ~positive, counted & positive])  # (2, K, N)
    share = counted.sum(1) / (2.0 * sides.sum(2)).clamp_min(1)  # (2, K)
    weight = (sides * share[..., None]).sum(0).to(x)
    penalty = torch.ones(x.shape[1]).to(x)
    penalty[-1] = 1e-9  # the bias is free; the rest keeps the system solvable
    fitted = x.new_zeros(len(counted), x.shape[1])

    def objective(at: Tensor) -> Tensor:
        return (weight * torch.nn.functional.softplus(-sign * (at @ x.T))).sum(1) + 0.5 * (penalty * at**2).sum(1)

    value = objective(fitted)
    for _ in range(_NEWTON_STEPS):
        p = torch.sigmoid(fitted @ x.T)
        slope = (weight * (p - (sign + 1) / 2)) @ x + penalty * fitted
        curvature = torch.einsum("kn,nf,ng->kfg", weight * p * (1 - p), x, x) + torch.diag(penalty)
        step = torch.linalg.solve(curvature, slope)
        size = torch.ones_like(value)
        for _ in range(_HALVINGS):
            ahead = objective(fitted - size[:, None] * step)
            size = torch.where(ahead <= value, size, size / 2)
        fitted = fitted - size[:, None] * step
        value = objective(fitted)
        if step.abs().max() < _TOLERANCE:
            break
    return fitted


def _folds(is_seen: Tensor) -> Tensor:
    """(K, N) bool: the samples that each fold leaves out."""
    from sklearn.model_selection import StratifiedKFold  # here, because a verb's help should not wait a second for it

    folds = min(_FOLDS, int(is_seen.sum()), int((~is_seen).sum()))
    left_out = torch.zeros(folds, len(is_seen), dtype=torch.bool)
    shuffled = StratifiedKFold(folds, shuffle=True, random_state=0)
    for fold, (_, rows) in enumerate(shuffled.split(np.zeros(len(is_seen)), is_seen.cpu().numpy())):
        left_out[fold, torch.from_numpy(rows)] = True
    return left_out.to(is_seen.device)


def _out_of_fold(inputs: Tensor, is_seen: Tensor, left_out: Tensor) -> Tensor:
    """(N,) each sample's p_d by the regression that was fitted without its fold."""
    fitted = fit_logistic(inputs, is_seen, ~left_out)
    logits = inputs @ fitted[:, :-1].T + fitted[:, -1]  # (N, K)
    return torch.sigmoid((logits * left_out.T).sum(dim=1))


def _harmonic_means(
    kind: str, seen: Tensor, unseen: Tensor, labels: Tensor, p_d: Tensor, thresholds: tuple[float, ...]
) -> list[float]:
    if kind == "soft":
        return [_accuracy(_joined(seen, unseen, p_d).argmax(1), labels, seen.shape[1])]
    on_seen, on_unseen = seen.argmax(1), unseen.argmax(1) + seen.shape[1]
    return [_accuracy(torch.where(p_d > t, on_seen, on_unseen), labels, seen.shape[1]) for t in thresholds]


def _accuracy(predicted: Tensor, labels: Tensor, seen_classes: int) -> float:
    right, is_seen = (predicted == labels).double(), labels < seen_classes
    return harmonic_mean(right[is_seen].mean(), right[~is_seen].mean()).item()
