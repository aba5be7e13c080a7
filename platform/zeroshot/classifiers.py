"""Single-layer softmax classifiers: on latents generated for the unseen classes, and on the seen classes' features."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from platform.population.adam import PopulationAdam
from platform.population.draws import shuffled_rows
from platform.population.layers import stack_padded, uniform, xavier
from platform.zeroshot.task import Task

_LEAST_GAIN = 1e-6  # stop where a step promises less, in nats per sample
_MOST_STEPS = 500  # reached where classes are separable and the penalty is small
_BIAS_PENALTY = 1e-8  # keeps the curvature invertible
_OF_TASKS: WeakKeyDictionary[Task, dict[tuple[float, torch.device], "SoftmaxClassifier"]] = WeakKeyDictionary()


@dataclass(frozen=True)
class SoftmaxClassifier:
    """Logits x·weight + bias, cut off at zero where `relu`. weight: (in, classes), bias: (classes,)."""

    weight: Tensor
    bias: Tensor
    relu: bool = False

    def log_probabilities(self, x: Tensor) -> Tensor:
        """x: (N, in); returns (N, classes)."""
        logits = x @ self.weight + self.bias
        return torch.log_softmax(logits.relu() if self.relu else logits, dim=1)


@dataclass(frozen=True)
class Adam:
    """Passes over the latents by Adam, in shuffled batches of `batch_size`, or of all of them where that is None.

    betas: of Adam; gain: of Xavier-uniform initial weights, with zero biases; None: both start uniform in ±1/√z, as
    PyTorch's layers do.
    """

    passes: int
    learning_rate: float
    batch_size: int | None = None
    betas: tuple[float, float] = (0.9, 0.999)
    gain: float | None = None


@dataclass(frozen=True)
class Penalised:
    """The unique minimum of mean cross-entropy + ‖weight‖² / (2 N inverse_penalty) on standardised latents.

    It depends neither on the latents' scale nor on a number of steps.
    """

    inverse_penalty: float


Training = Adam | Penalised


def fit_on_latents(
    latents: Sequence[Tensor],
    labels: Tensor,
    classes: int,
    training: Training,
    relu: bool,
    draws: Sequence[torch.Generator],
) -> list[SoftmaxClassifier]:
    """One classifier a member, on generated latents (SynSE, Section 2.4; SA-DVAE, Eq. 8).

    latents: one (N, z) a member, whose widths may differ; labels: (N,), shared; draws: one CPU generator a member, for
    Adam's starting weights and then its batches. `relu` cuts the logits off at zero, as the released code does; with it
    there is no single minimum, and `training` must be Adam.
    """
    if relu and isinstance(training, Penalised):
        raise ValueError("a softmax layer with a ReLU has no single minimum: train it by Adam")
    # a GPU fits all members at once; a CPU one by one, whose latents fit its cache
    size = len(latents) if labels.device.type == "cuda" else 1
    fitted = []
    for first in range(0, len(latents), size):
        own = slice(first, first + size)
        if isinstance(training, Penalised):
            fitted += _minimised(latents[own], labels, classes, training.inverse_penalty)
        else:
            fitted += _trained(latents[own], labels, classes, training, relu, draws[own])
    return fitted


def _trained(
    latents: Sequence[Tensor],
    labels: Tensor,
    classes: int,
    training: Adam,
    relu: bool,
    draws: Sequence[torch.Generator],
) -> list[SoftmaxClassifier]:
    starts = [_start(z.shape[1], classes, training.gain, draw) for z, draw in zip(latents, draws, strict=True)]
    x = stack_padded(latents)
    # (members, classes, N): a product whose last axis is a few classes is several times slower
    weight = stack_padded([s[:, :-1] for s in starts]).to(labels.device)
    bias = stack_padded([s[:, -1:] for s in starts]).to(labels.device)
    targets = torch.nn.functional.one_hot(labels, classes).T.to(x.dtype)
    rates = [training.learning_rate] * len(latents)
    optimiser = PopulationAdam({"weight": weight, "bias": bias}, rates, training.betas)
    for own, wanted in _batches(x, targets, training, draws):
        logits = torch.baddbmm(bias, weight, own.transpose(1, 2))
        gradient = torch.softmax(logits.relu() if relu else logits, dim=1).sub_(wanted).div_(own.shape[1])
        if relu:
            gradient *= logits > 0
        optimiser.step([torch.bmm(gradient, own), gradient.sum(dim=2, keepdim=True)])
    return [
        SoftmaxClassifier(weight[m, :, : z.shape[1]].T.contiguous(), bias[m, :, 0], relu) for m, z in enumerate(latents)
    ]


def _start(width: int, classes: int, gain: float | None, draw: torch.Generator) -> Tensor:
    """(classes, width + 1) the weights and the bias that Adam starts from."""
    if gain is None:
        return uniform(width, classes, width + 1, draw)
    return torch.cat([xavier(width, classes, gain, draw).T, torch.zeros(classes, 1)], dim=1)


def _batches(
    x: Tensor, targets: Tensor, training: Adam, draws: Sequence[torch.Generator]
) -> Iterator[tuple[Tensor, Tensor]]:
    """Each step's latents (members, batch, z) and targets (members, classes, batch).

    x: (members, N, z); targets: (classes, N).
    """
    count, size = x.shape[1], training.batch_size
    if size is None or size >= count:
        yield from repeat((x, targets), training.passes)
        return
    steps = training.passes * (count // size)  # incomplete batches are dropped, as in the released code
    rows = torch.stack([shuffled_rows(count, size, draw, steps) for draw in draws], dim=1).to(x.device)
    first = count * torch.arange(len(draws), device=x.device)[:, None]  # of each member in the flattened latents
    latents, wanted = x.flatten(0, 1), targets.T.contiguous()
    for own in rows:  # (members, size)
        batch = latents.index_select(0, (own + first).flatten()).view(*own.shape, -1)
        yield batch, wanted.index_select(0, own.flatten()).view(*own.shape, -1).transpose(1, 2)


def _minimised(
    latents: Sequence[Tensor], labels: Tensor, classes: int, inverse_penalty: float
) -> list[SoftmaxClassifier]:
    """The minimum of `Penalised`; NaN for a member whose latents are not finite.

    The curvature of the cross-entropy is never above ½ XᵀX / N, for any weights and each class alike (Böhning, 1992).
    Its inverse, computed once, so gives steps that never overshoot; momentum, reset where it points uphill (Nesterov,
    1983; O'Donoghue and Candès, 2015), speeds them up. A member stops once a step promises less than `_LEAST_GAIN`.
    """
    x = stack_padded(latents)
    finite = x.isfinite().all(dim=2, keepdim=True).all(dim=1, keepdim=True)
    x = torch.where(finite, x, 0.0)
    shift = x.mean(1, keepdim=True)
    scale = x.std(1, correction=0, keepdim=True).clamp_min(1e-6)
    x = torch.cat([(x - shift) / scale, torch.ones_like(x[..., :1])], dim=2)  # (members, N, z + 1)
    count, width = x.shape[1:]
    penalty = torch.full((width,), 1 / (count * inverse_penalty), device=x.device)
    penalty[-1] = _BIAS_PENALTY  # the bias is free
    bound = torch.bmm(x.transpose(1, 2), x).double() / (2 * count) + penalty.double().diag()
    inverse = torch.linalg.inv(bound).to(x.dtype)
    targets = torch.nn.functional.one_hot(labels, classes).T.to(x.dtype)
    weight = x.new_zeros(len(latents), classes, width)
    ahead, momentum = weight, x.new_ones(len(latents), 1, 1)
    moving = torch.ones_like(momentum, dtype=torch.bool)
    for _ in range(_MOST_STEPS):
        gradient = torch.softmax(torch.bmm(ahead, x.transpose(1, 2)), dim=1).sub_(targets)
        gradient = torch.bmm(gradient, x).div_(count).addcmul_(ahead, penalty)
        step = torch.bmm(gradient, inverse)
        moved = torch.where(moving, ahead - step, weight)
        uphill = (gradient * (moved - weight)).sum(dim=(1, 2), keepdim=True) > 0
        following = torch.where(uphill, 1.0, (1 + (1 + 4 * momentum.square()).sqrt()) / 2)
        ahead = moved + torch.where(uphill, 0.0, (momentum - 1) / following) * (moved - weight)
        weight, momentum = moved, following
        moving &= (gradient * step).sum(dim=(1, 2), keepdim=True) > _LEAST_GAIN
        if not moving.any():
            break
    weight, bias = torch.where(finite, weight, torch.nan).split([width - 1, 1], dim=2)
    weight = weight / scale
    bias = bias - torch.bmm(weight, shift.transpose(1, 2))
    return [SoftmaxClassifier(weight[m, :, : z.shape[1]].T.contiguous(), bias[m, :, 0]) for m, z in enumerate(latents)]


def fit_on_features(features: Tensor, labels: Tensor, classes: int, inverse_penalty: float) -> SoftmaxClassifier:
    """The seen classifier C_s (SA-DVAE, Eq. 10): multinomial logistic regression by L-BFGS.

    features: (N, D), labels: (N,). Minimises mean cross-entropy + ‖weight‖² / (2 N inverse_penalty), scikit-learn's
    objective with C = inverse_penalty, on standardised features. Features that are not finite give NaN.
    """
    shift, scale = features.mean(0), features.std(0, correction=0).clamp_min(1e-6)
    x = (features - shift) / scale
    weight = torch.zeros(x.shape[1], classes, device=x.device, requires_grad=True)
    bias = torch.zeros(classes, device=x.device, requires_grad=True)
    if not x.isfinite().all():  # latents of a diverged member: L-BFGS would raise
        return SoftmaxClassifier(weight.detach() + torch.nan, bias.detach() + torch.nan)
    optimiser = torch.optim.LBFGS([weight, bias], max_iter=100, history_size=10, line_search_fn="strong_wolfe")

    def objective() -> Tensor:
        optimiser.zero_grad()
        loss = torch.nn.functional.cross_entropy(x @ weight + bias, labels)
        loss = loss + weight.square().sum() / (2 * len(x) * inverse_penalty)
        loss.backward()
        return loss

    optimiser.step(objective)
    folded = weight.detach() / scale[:, None]
    return SoftmaxClassifier(folded, bias.detach() - shift @ folded)


def fit_on_task(task: Task, features: Tensor, inverse_penalty: float) -> SoftmaxClassifier:
    """C_s on a task's own features, fitted once and cached. features: (N, D), on the device."""
    fitted, key = _OF_TASKS.setdefault(task, {}), (inverse_penalty, features.device)
    if key not in fitted:
        labels = task.labels.to(features.device)
        fitted[key] = fit_on_features(features, labels, len(task.seen), inverse_penalty)
    return fitted[key]
