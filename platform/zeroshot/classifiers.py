"""Single-layer softmax classifiers: on latents generated for the unseen classes, and on the seen classes' features."""

from collections.abc import Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from platform.population.adam import PopulationAdam
from platform.population.layers import stack_padded
from platform.zeroshot.task import Task

_OF_TASKS: WeakKeyDictionary[Task, dict[tuple[float, torch.device], "SoftmaxClassifier"]] = WeakKeyDictionary()


@dataclass(frozen=True)
class SoftmaxClassifier:
    """Logits x·weight + bias, cut off at zero where `relu`. weight: (in, classes), bias: (classes,)."""

    weight: Tensor
    bias: Tensor
    relu: bool = False

    def log_probabilities(self, x: Tensor) -> Tensor:
        """x: (N, in); gives (N, classes)."""
        logits = x @ self.weight + self.bias
        return torch.log_softmax(logits.relu() if self.relu else logits, dim=1)


def fit_on_latents(
    latents: Sequence[Tensor],
    labels: Tensor,
    classes: int,
    steps: int,
    learning_rate: float,
    relu: bool,
    draws: Sequence[torch.Generator],
) -> list[SoftmaxClassifier]:
    """One classifier a member, by full-batch Adam on generated latents (SynSE, Section 2.4; SA-DVAE, Eq. 8).

    latents: one (N, z) a member, whose widths may differ; labels: (N,), shared; draws: one CPU generator a member, for
    the starting weights, uniform in ±1/√z. `relu` cuts the logits off at zero, as the released code does.
    """
    starts = [
        (2 * torch.rand(classes, z.shape[1] + 1, generator=draw) - 1) * z.shape[1] ** -0.5
        for z, draw in zip(latents, draws, strict=True)
    ]
    # a GPU takes all members at once; a CPU's cache holds the latents of one
    size = len(latents) if labels.device.type == "cuda" else 1
    fitted = []
    for first in range(0, len(latents), size):
        own = slice(first, first + size)
        fitted += _fit_together(latents[own], starts[own], labels, steps, learning_rate, relu)
    return fitted


def _fit_together(
    latents: Sequence[Tensor],
    starts: Sequence[Tensor],
    labels: Tensor,
    steps: int,
    learning_rate: float,
    relu: bool,
) -> list[SoftmaxClassifier]:
    """starts: one (classes, z + 1) a member, the weights and the bias."""
    x = stack_padded(latents)
    # classes stand before samples, (members, classes, N): few classes as a product's last axis are several times slower
    weight = stack_padded([s[:, :-1] for s in starts]).to(labels.device)
    bias = stack_padded([s[:, -1:] for s in starts]).to(labels.device)
    targets = torch.nn.functional.one_hot(labels, weight.shape[1]).T.to(x.dtype)
    optimiser = PopulationAdam({"weight": weight, "bias": bias}, [learning_rate] * len(latents))
    for _ in range(steps):
        logits = torch.baddbmm(bias, weight, x.transpose(1, 2))
        slope = torch.softmax(logits.relu() if relu else logits, dim=1).sub_(targets).div_(len(labels))
        if relu:
            slope *= logits > 0
        optimiser.step([torch.bmm(slope, x), slope.sum(dim=2, keepdim=True)])
    return [
        SoftmaxClassifier(weight[m, :, : z.shape[1]].T.contiguous(), bias[m, :, 0], relu) for m, z in enumerate(latents)
    ]


def fit_on_features(features: Tensor, labels: Tensor, classes: int, inverse_penalty: float) -> SoftmaxClassifier:
    """The seen classifier C_s (SA-DVAE, Eq. 10): multinomial logistic regression by L-BFGS.

    features: (N, D), labels: (N,). Minimises mean cross-entropy + ‖weight‖² / (2 N inverse_penalty), scikit-learn's
    objective with C = inverse_penalty, on standardised features. Features that are not finite give NaN.
    """
    shift, scale = features.mean(0), features.std(0, correction=0).clamp_min(1e-6)
    x = (features - shift) / scale
    weight = torch.zeros(x.shape[1], classes, device=x.device, requires_grad=True)
    bias = torch.zeros(classes, device=x.device, requires_grad=True)
    if not x.isfinite().all():  # latents of a member that diverged, on which L-BFGS would raise
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
    """C_s on a task's own features, fitted once for all that train on the task. features: (N, D), on the device."""
    fitted, key = _OF_TASKS.setdefault(task, {}), (inverse_penalty, features.device)
    if key not in fitted:
        labels = task.labels.to(features.device)
        fitted[key] = fit_on_features(features, labels, len(task.seen), inverse_penalty)
    return fitted[key]
