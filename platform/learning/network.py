"""A population's layers while their losses are taken."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from platform.population.layers import StackedLayers, stacked_linear, stacked_product


class TrainedNetwork:
    """Layers of which some are trained: losses call them, and `write_gradients` writes those layers' gradients.

    A matrix's gradient is written where the optimiser reads it, in the layer's own backward step: memory that stays
    in place is neither fetched from the system nor copied. weights: every matrix (members, in, out) and bias (members,
    1, out) by name, for what is more than a linear layer; gradients through these are autograd's.
    """

    def __init__(self, layers: StackedLayers, trained: Iterable[str]) -> None:
        self.layers = layers
        self.leaves = {name: layers.parameters[name].detach().requires_grad_() for name in trained}
        self.weights = {**layers.parameters, **self.leaves}
        self._written: set[str] = set()

    def __call__(self, name: str, x: Tensor) -> Tensor:
        """A layer by its name. x: (members, rows, in); returns (members, rows, out)."""
        weight, bias = self.weights[name], self.weights.get(f"{name}_bias")
        if name not in self.leaves:
            return stacked_linear(x, weight, bias)
        return _Layer.apply(x, weight, bias, lambda x, gradient: self._write(name, x, gradient))

    def write_gradients(self, loss: Tensor) -> None:
        """Write the gradients of a loss () into those of the layers, zero where it does not depend on them."""
        loss.backward()
        for name, leaf in self.leaves.items():
            gradient = self.layers.gradients[name]
            if name.removesuffix("_bias") not in self._written:
                gradient.zero_() if leaf.grad is None else gradient.copy_(leaf.grad)
            elif leaf.grad is not None:
                gradient.add_(leaf.grad)

    def _write(self, name: str, x: Tensor, gradient: Tensor) -> None:
        self.layers.write_gradients(name, x, gradient, add=name in self._written)
        self._written.add(name)


class _Layer(torch.autograd.Function):
    """A linear layer whose backward step gives the gradients of its matrix and bias to `write`."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, write: Callable[[Tensor, Tensor], None]
    ) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.write = write
        return stacked_linear(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, None, None, None]:
        x, weight = ctx.saved_tensors
        ctx.write(x, gradient)
        return stacked_product(gradient, weight.mT) if ctx.needs_input_grad[0] else None, None, None, None
