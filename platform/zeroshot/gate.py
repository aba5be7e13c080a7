"""Joining a seen and an unseen classifier: the seen/unseen gate, and calibrated stacking.

Both are fitted on held-out samples of which some have pseudo-unseen classes, and used on other, mostly more, classes.
Probabilities depend on the number of classes, so validation's threshold does not fit the final model. `carried`
recalibrates it: the same share of held-out seen samples must be decided to be seen.
"""

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from platform.zeroshot.metrics import harmonic_mean

TEMPERATURES = tuple(float(t) for t in range(1, 10))  # the released code's range
THRESHOLDS = tuple(round(0.25 + 0.01 * i, 2) for i in range(50))  # the released code's range
_FOLDS = 5
_NEWTON_STEPS, _HALVINGS, _TOLERANCE = 100, 5, 1e-9
_CANDIDATES = 500  # most thresholds to compare
# Thresholds whose harmonic mean is within so many standard errors of the best count as equally good, so that the choice
# does not depend on single samples.
_EQUALLY_GOOD = 0.5


@dataclass(frozen=True)
class GateOptions:
    """How a gate is made. The papers' own: inputs `probabilities`, threshold `listed`, as `fit_gate` describes.

    kind: soft or hard; inputs: of the domain classifier; temperature_scaling: choose the temperature, else 1; tempered:
    apply the temperature to p_s in p(y|x), too; balanced: both sides weigh the same in the regression; threshold: free,
    or one of `THRESHOLDS`; chosen_by: what temperature and threshold maximise.
    """

    kind: Literal["soft", "hard"]
    inputs: Literal["confidence", "probabilities"] = "confidence"
    temperature_scaling: bool = True
    tempered: bool = True
    balanced: bool = True
    threshold: Literal["free", "listed"] = "free"
    chosen_by: Literal["harmonic_mean", "accuracy"] = "harmonic_mean"


@dataclass(frozen=True)
class Gate:
    """Domain classifier C_d (SynSE, Section 2.5; SA-DVAE, Eq. 11): the probability that a sample's class is seen.

    A logistic regression. Its inputs are the `top` largest seen probabilities at `temperature` and the `top` largest
    unseen ones, as in the papers; or, where `top` is 0, the largest seen log-probability at `temperature` alone, which
    detects samples of unknown classes (Hendrycks and Gimpel, 2017) and depends little on the number of classes.
    coefficients: (2·top,), or (1,). Soft: p(y|x) = p_d·p_s ⊕ (1 − p_d)·p_u, with p_s at the temperature too where
    `tempered`. Hard: the side that p_d and `threshold` choose.
    """

    kind: Literal["soft", "hard"]
    temperature: float
    threshold: float
    top: int
    coefficients: tuple[float, ...]
    intercept: float
    tempered: bool = False

    def logit_seen(self, seen: Tensor, unseen: Tensor) -> Tensor:
        """(N,) log p_d − log(1 − p_d). seen: (N, S), unseen: (N, U) log-probabilities."""
        inputs = _gate_inputs(seen, unseen, self.temperature, self.top)
        return inputs @ inputs.new_tensor(self.coefficients) + self.intercept

    def probability_seen(self, seen: Tensor, unseen: Tensor) -> Tensor:
        """(N,) p_d. seen: (N, S), unseen: (N, U) log-probabilities."""
        return torch.sigmoid(self.logit_seen(seen, unseen))

    def scores(self, seen: Tensor, unseen: Tensor, logit: Tensor | None = None) -> Tensor:
        """(N, S + U) log p(y|x); −inf on the side that a hard gate rejects. logit: (N,) in place of the gate's own."""
        logit = self.logit_seen(seen, unseen) if logit is None else logit
        if self.kind == "soft":
            return _joined(self._seen(seen), unseen, logit)
        return _joined(seen, unseen, torch.where(logit.sigmoid() > self.threshold, torch.inf, -torch.inf))

    def curve_scores(self, seen: Tensor, unseen: Tensor, logit: Tensor | None = None) -> Tensor:
        """(N, S + U) of the soft gate, for the seen-unseen curve, since a hard gate has no margin."""
        return _joined(self._seen(seen), unseen, self.logit_seen(seen, unseen) if logit is None else logit)

    def margins(self, seen: Tensor, unseen: Tensor, logit: Tensor | None = None) -> Tensor:
        """(N,) how far a sample is on the seen side; it is decided to be seen where that is positive."""
        logit = self.logit_seen(seen, unseen) if logit is None else logit
        if self.kind == "hard":
            return logit - math.log(self.threshold / (1 - self.threshold))
        return logit + self._seen(seen).amax(1) - unseen.amax(1)

    def moved(self, by: float) -> "Gate":
        """With all margins larger by so much."""
        return replace(self, intercept=self.intercept + by)

    def _seen(self, seen: Tensor) -> Tensor:
        return torch.log_softmax(seen / self.temperature, dim=1) if self.tempered else seen


@dataclass(frozen=True)
class Stacking:
    """Calibrated stacking (Chao et al., 2016): `bias` is taken from every seen score."""

    bias: float

    def scores(self, seen: Tensor, unseen: Tensor) -> Tensor:
        """(N, S + U). seen: (N, S), unseen: (N, U) log-probabilities."""
        return torch.cat([seen - self.bias, unseen], dim=1)

    curve_scores = scores

    def margins(self, seen: Tensor, unseen: Tensor) -> Tensor:
        """(N,) how far a sample is on the seen side; it is decided to be seen where that is positive."""
        return (seen.amax(1) - unseen.amax(1)).double() - self.bias

    def moved(self, by: float) -> "Stacking":
        """With all margins larger by so much."""
        return replace(self, bias=self.bias - by)


Combination = Gate | Stacking


def fit_gate(options: GateOptions, seen: Tensor, unseen: Tensor, labels: Tensor) -> tuple[Gate, Tensor]:
    """Fit a gate on held-out samples of which some have pseudo-unseen classes; temperature and threshold too.

    seen: (N, S), unseen: (N, U) log-probabilities; labels: (N,) in 0 … S + U − 1, at least two samples a side.
    Temperature and threshold maximise the harmonic mean (or the accuracy) of out-of-fold decisions, so that the few
    held-out samples serve both for fitting and for choosing. The papers choose from a list of thresholds, and a soft
    gate has none; a free threshold shifts p_d, of a soft gate too, and is chosen by `best_move`. Returns the gate,
    fitted on all samples, and the (N,) out-of-fold logits of p_d, for unbiased validation metrics.
    """
    classes = seen.shape[1]
    top = min(unseen.shape[1], classes) if options.inputs == "probabilities" else 0
    is_seen = labels < classes
    left_out = _folds(is_seen)
    best: tuple[float, Gate, Tensor] | None = None
    for temperature in TEMPERATURES if options.temperature_scaling else (1.0,):
        inputs = _gate_inputs(seen, unseen, temperature, top)
        logit = _out_of_fold(inputs, is_seen, left_out, options.balanced)
        gate, move = Gate(options.kind, temperature, 0.5, top, (), 0.0, options.tempered), 0.0
        if options.threshold == "free":
            move, value = best_move(gate.margins(seen, unseen, logit), seen, unseen, labels)
        else:
            thresholds = THRESHOLDS if options.kind == "hard" else (0.5,)
            tried = [replace(gate, threshold=t).scores(seen, unseen, logit).argmax(1) for t in thresholds]
            values = [_value(options.chosen_by, predicted, labels, classes) for predicted in tried]
            chosen = int(np.argmax(values))
            gate, value = replace(gate, threshold=thresholds[chosen]), values[chosen]
        if best is None or value > best[0]:
            best = value, replace(gate, intercept=move), logit + move
    _, gate, logit = best
    everything = torch.ones_like(is_seen)[None]
    inputs = _gate_inputs(seen, unseen, gate.temperature, top)
    fitted = fit_logistic(inputs, is_seen, everything, options.balanced)[0]
    return replace(gate, coefficients=tuple(fitted[:-1].tolist())).moved(fitted[-1].item()), logit


def best_move(margins: Tensor, seen: Tensor, unseen: Tensor, labels: Tensor) -> tuple[float, float]:
    """The shift of all margins (N,) towards the seen side with the highest harmonic mean, and that mean.

    Among shifts whose harmonic means are equally good, it takes the middle one. Classes weigh the same. Other shapes as
    for `fit_gate`.
    """
    classes, is_seen = seen.shape[1], labels < seen.shape[1]
    ends = margins[margins.isfinite()].unique()
    ends = ends[:: max(1, len(ends) // _CANDIDATES)]
    # between the samples' margins, so that rounding does not decide
    moves = -torch.cat([ends[:1] - 1, (ends[1:] + ends[:-1]) / 2, ends[-1:] + 1])
    kept = margins > -moves[:, None]  # (moves, N)
    share = 1 / torch.bincount(labels)[labels].double()
    right_seen, right_unseen = (
        share * (side.argmax(1) + first == labels) for side, first in ((seen, 0), (unseen, classes))
    )
    on_seen = (kept * right_seen)[:, is_seen].sum(1) / share[is_seen].sum()
    on_unseen = (~kept * right_unseen)[:, ~is_seen].sum(1) / share[~is_seen].sum()
    values = harmonic_mean(on_seen, on_unseen)
    best = int(values.argmax())
    error = _error_of_harmonic_mean(on_seen[best], on_unseen[best], int(is_seen.sum()), int((~is_seen).sum()))
    equal = torch.nonzero(values >= values[best] - _EQUALLY_GOOD * error).flatten()
    chosen = int(equal[len(equal) // 2])
    return float(moves[chosen]), float(values[chosen])


def carried(combination: Combination, seen_share: float, seen: Tensor, unseen: Tensor) -> Combination:
    """The combination with its threshold recalibrated to decide the same share of held-out seen samples to be seen.

    seen_share: that share among validation's held-out seen samples; seen: (M, S), unseen: (M, U) log-probabilities of
    samples of seen classes that the model was not trained on, among the classes that it will be used on.
    """
    margins = combination.margins(seen, unseen).sort().values
    below = min(max(round((1 - seen_share) * len(margins)), 0), len(margins))
    around = torch.cat([margins[:1] - 1, margins, margins[-1:] + 1])  # padded: the threshold is between two of them
    return combination.moved(-float(around[below] + around[below + 1]) / 2)


def seen_share(margins: Tensor, labels: Tensor, seen_classes: int) -> float:
    """Share of the samples of seen classes that are decided to be seen. margins, labels: (N,)."""
    return (margins[labels < seen_classes] > 0).double().mean().item()


def fit_stacking(seen: Tensor, unseen: Tensor, labels: Tensor) -> Stacking:
    """The bias with the highest harmonic mean on held-out samples, as `best_move` chooses it."""
    plain = Stacking(0.0)
    return plain.moved(best_move(plain.margins(seen, unseen), seen, unseen, labels)[0])


def _gate_inputs(seen: Tensor, unseen: Tensor, temperature: float, top: int) -> Tensor:
    """(N, 2·top): p'_s then p_u, each sorted and cut or filled with zeros to `top`; (N, 1) log p'_s where that is 0."""
    tempered = torch.log_softmax(seen / temperature, dim=1)  # of log p / T it is that of logits / T
    if not top:
        return tempered.amax(1, keepdim=True).double()
    return torch.cat([_top(tempered.exp(), top), _top(unseen.exp(), top)], dim=1).double()


def _top(probabilities: Tensor, count: int) -> Tensor:
    largest = probabilities.topk(min(count, probabilities.shape[1]), dim=1).values
    return torch.nn.functional.pad(largest, (0, count - largest.shape[1]))


def _joined(seen: Tensor, unseen: Tensor, logit: Tensor) -> Tensor:
    """log p_d·p_s ⊕ log (1 − p_d)·p_u. logit: (N,) of p_d."""
    logit = logit[:, None]
    return torch.cat([seen + logsigmoid(logit), unseen + logsigmoid(-logit)], dim=1)


def fit_logistic(inputs: Tensor, positive: Tensor, counted: Tensor, balanced: bool = True) -> Tensor:
    """L2-penalised logistic regressions by Newton's method, one for each choice of samples; (K, F + 1), bias last.

    inputs: (N, F); positive: (N,) bool; counted: (K, N) bool. scikit-learn's objective with C = 1, and with balanced
    classes where `balanced`: SA-DVAE's code draws as many seen samples as there are unseen ones, SynSE's does not.
    Written here because a search fits it some fifty times a trial, for which scikit-learn takes half a second.
    """
    x = torch.cat([inputs, inputs.new_ones(len(inputs), 1)], dim=1)
    sign = torch.where(positive, 1.0, -1.0).to(x)
    sides = torch.stack([counted & ~positive, counted & positive])  # (2, K, N)
    share = counted.sum(1) / (2.0 * sides.sum(2)).clamp_min(1)  # (2, K)
    share = share if balanced else torch.ones_like(share)
    weight = (sides * share[..., None]).sum(0).to(x)
    penalty = torch.ones(x.shape[1]).to(x)
    penalty[-1] = 1e-9  # leaves the bias nearly free, but the system solvable
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


def _out_of_fold(inputs: Tensor, is_seen: Tensor, left_out: Tensor, balanced: bool) -> Tensor:
    """(N,) each sample's logit of p_d by the regression that was fitted without the sample's fold."""
    fitted = fit_logistic(inputs, is_seen, ~left_out, balanced)
    logits = inputs @ fitted[:, :-1].T + fitted[:, -1]  # (N, K)
    return (logits * left_out.T).sum(dim=1)


def _value(chosen_by: str, predicted: Tensor, labels: Tensor, seen_classes: int) -> float:
    """Per-sample harmonic mean, or the share of samples assigned to the right side (SA-DVAE's code)."""
    right, is_seen = (predicted == labels).double(), labels < seen_classes
    if chosen_by == "accuracy":
        return ((predicted < seen_classes) == is_seen).double().mean().item()
    return harmonic_mean(right[is_seen].mean(), right[~is_seen].mean()).item()


def _error_of_harmonic_mean(seen: Tensor, unseen: Tensor, seen_count: int, unseen_count: int) -> float:
    """Standard error of 2su / (s + u), from those of both shares of so many samples (the delta method)."""
    s, u = float(seen), float(unseen)
    if s + u == 0:
        return 0.0
    by_seen, by_unseen = (2 * other**2 / (s + u) ** 2 for other in (u, s))
    return math.sqrt(by_seen**2 * s * (1 - s) / seen_count + by_unseen**2 * u * (1 - u) / unseen_count)
