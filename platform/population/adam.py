"""Adam for a population: every member has its own learning rate and its own count of steps."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.optim.adam import adam as torch_adam


class PopulationAdam:
    """Adam (Kingma and Ba, 2015) over parameters that carry a leading member axis.

    parameters: name to (members, …); learning_rates: one a member; amsgrad: divide by the largest second moment so far
    (Reddi et al., 2018). `moments` has each kind's tensors, `state` them and the counts, saved and loaded whole.
    """

    def __init__(
        self,
        parameters: Mapping[str, Tensor],
        learning_rates: Sequence[float],
        betas: tuple[float, float] = (0.9, 0.999),
        epsilon: float = 1e-8,
        amsgrad: bool = False,
    ) -> None:
        self.parameters, self.betas, self.epsilon = dict(parameters), betas, epsilon
        self.learning_rates = list(learning_rates)
        first = next(iter(self.parameters.values()))
        self.on_cpu = first.device.type == "cpu"
        # one count a parameter and member, because torch's kernel advances each count by itself
        self.steps = torch.zeros(len(self.parameters), len(self.learning_rates), device=first.device)
        self.mean = {name: torch.zeros_like(p) for name, p in self.parameters.items()}
        self.square = {name: torch.zeros_like(p) for name, p in self.parameters.items()}
        self.peak = {name: torch.zeros_like(p) for name, p in self.parameters.items()} if amsgrad else {}
        self._rates = torch.tensor(self.learning_rates, dtype=first.dtype, device=first.device)
        self._members = [self._views(m) for m in range(len(self.learning_rates))] if self.on_cpu else []

    def step(self, gradients: Sequence[Tensor], active: Tensor | None = None) -> None:
        """One update. gradients: in the order of `parameters`; active: (members,) bool, who takes part; all by default.

        `active` is on the parameters' device, so that a step there waits for nothing.
        """
        if self.on_cpu:
            self._step_each(gradients, active)
        else:
            self._step_together(gradients, active)

    def _step_each(self, gradients: Sequence[Tensor], active: Tensor | None) -> None:
        # torch's fused kernel reads and writes each number once, but knows one learning rate a call
        for m in range(len(self.learning_rates)) if active is None else active.nonzero().flatten().tolist():
            parameters, mean, square, peak, steps = self._members[m]
            torch_adam(
                parameters, [g[m] for g in gradients], mean, square, peak, steps,
                foreach=False, fused=True, amsgrad=bool(peak), beta1=self.betas[0], beta2=self.betas[1],
                lr=self.learning_rates[m], weight_decay=0.0, eps=self.epsilon, maximize=False,
            )  # fmt: skip

    def _step_together(self, gradients: Sequence[Tensor], active: Tensor | None) -> None:
        beta1, beta2 = self.betas
        taking_part = torch.ones_like(self._rates) if active is None else active.to(self._rates.dtype)
        self.steps += taking_part
        steps = self.steps[0].clamp_min(1.0)
        size = self._rates * taking_part / (1 - beta1**steps)
        correction = (1 - beta2**steps).sqrt()
        for (name, parameter), gradient in zip(self.parameters.items(), gradients, strict=True):
            axes = (-1,) + (1,) * (parameter.dim() - 1)
            share = taking_part.view(axes)
            self.mean[name].lerp_(gradient, (1 - beta1) * share)
            self.square[name].lerp_(gradient * gradient, (1 - beta2) * share)
            square = self.square[name]
            if self.peak:
                square = torch.maximum(self.peak[name], square, out=self.peak[name])
            denominator = square.sqrt().div_(correction.view(axes)).add_(self.epsilon)
            parameter.sub_(size.view(axes) * self.mean[name] / denominator)

    def set_rates(self, learning_rates: Sequence[float]) -> None:
        """Each member's learning rate from the next step on."""
        self.learning_rates = list(learning_rates)
        self._rates.copy_(torch.tensor(self.learning_rates, dtype=self._rates.dtype))

    @property
    def moments(self) -> dict[str, dict[str, Tensor]]:
        """Kind to name to tensor, shaped as the parameters, by reference."""
        kinds = {"mean": self.mean, "square": self.square, "peak": self.peak}
        return {kind: tensors for kind, tensors in kinds.items() if tensors}

    @property
    def state(self) -> dict[str, Tensor]:
        """The moments and step counts under flat names, by reference."""
        moments = {f"{kind}.{n}": t for kind, tensors in self.moments.items() for n, t in tensors.items()}
        return {"steps": self.steps, **moments}

    def load(self, state: Mapping[str, Tensor]) -> None:
        for name, tensor in self.state.items():
            tensor.copy_(state[name])

    def _views(self, member: int) -> tuple[list[Tensor], ...]:
        parameters = [p.detach()[member] for p in self.parameters.values()]
        moments = ([t[member] for t in group.values()] for group in (self.mean, self.square, self.peak))
        return (parameters, *moments, list(self.steps[:, member]))
