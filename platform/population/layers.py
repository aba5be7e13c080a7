"""Linear layers stacked along a leading member axis. Members may differ in width: the rest is zero and stays zero."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

_ALIGNMENT = 64  # bytes; where PyTorch lets a tensor begin
Layout = Mapping[str, tuple[Sequence[str], Sequence[str]]]  # a layer to the parts that its rows and columns consist of


def stacked_product(x: Tensor, y: Tensor, out: Tensor | None = None) -> Tensor:
    """x: (members, rows, k), y: (members, k, columns); returns (members, rows, columns). Both may be a single member's.

    On a CPU member by member: a library that is given several products at once may sum each in another order than it
    sums a single one, and a member of a population should compute what it would compute alone, to the last bit.
    """
    if x.device.type != "cpu" or x.dim() == 2:
        return torch.matmul(x, y, out=out)
    if torch.is_grad_enabled() and (x.requires_grad or y.requires_grad):
        return _Product.apply(x, y)
    out = x.new_empty(*x.shape[:2], y.shape[2]) if out is None else out
    _member_by_member(torch.mm, (x, y), out)
    return out


def _member_by_member(product: Callable[..., Tensor], operands: Sequence[Tensor], out: Tensor) -> None:
    """Each member's product, from and into memory that begins as a single member's does: sums hang on that, too."""
    for *own, result in zip(*(operand.unbind() for operand in operands), out.unbind(), strict=True):
        own = [part if _is_aligned(part) else _like(part).copy_(part) for part in own]
        if _is_aligned(result):
            product(*own, out=result)
        else:
            result.copy_(product(*own, out=_like(result)))


def _is_aligned(tensor: Tensor) -> bool:
    return tensor.data_ptr() % _ALIGNMENT == 0


def _like(tensor: Tensor) -> Tensor:
    """Empty, aligned, with the same strides unless elements share their memory."""
    return (
        torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype)
        if all(tensor.stride())
        else (torch.empty(tensor.shape, dtype=tensor.dtype))
    )


class _Product(torch.autograd.Function):
    """`stacked_product`, and its gradients taken in the same way."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor) -> Tensor:
        ctx.save_for_backward(x, y)
        return stacked_product(x, y)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        (x, y), (of_x, of_y) = ctx.saved_tensors, ctx.needs_input_grad
        return stacked_product(gradient, y.mT) if of_x else None, stacked_product(x.mT, gradient) if of_y else None


def stacked_linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """x: (members, rows, in), weight: (members, in, out), bias: (members, 1, out); returns (members, rows, out)."""
    if bias is None:
        return stacked_product(x, weight)
    if x.device.type != "cpu":
        return torch.baddbmm(bias, x, weight)
    if torch.is_grad_enabled() and (weight.requires_grad or x.requires_grad):
        return _Linear.apply(x, weight, bias)
    out = x.new_empty(*x.shape[:2], weight.shape[2])
    _member_by_member(torch.addmm, (bias, x, weight), out)
    return out


class _Linear(torch.autograd.Function):
    """`stacked_linear`, with its gradients taken in the same way."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return stacked_linear(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        (x, weight), (of_x, of_weight, of_bias) = ctx.saved_tensors, ctx.needs_input_grad
        return (
            stacked_product(gradient, weight.mT) if of_x else None,
            stacked_product(x.mT, gradient) if of_weight else None,
            gradient.sum(dim=1, keepdim=True) if of_bias else None,
        )


def write_linear_gradients(x: Tensor, gradient: Tensor, weight: Tensor, bias: Tensor | None, add: bool = False) -> None:
    """Write a stacked linear layer's gradients into `weight` and `bias`, or add them to what is there.

    x: (members, rows, in), its input; gradient: (members, rows, out), its output's.
    """
    if not add:
        stacked_product(x.mT, gradient, out=weight)
    elif x.device.type == "cpu":
        _member_by_member(torch.addmm, (weight, x.mT, gradient), weight)
    else:
        weight.baddbmm_(x.mT, gradient)
    if bias is not None:
        bias.add_(gradient.sum(dim=1, keepdim=True)) if add else torch.sum(gradient, dim=1, keepdim=True, out=bias)


def xavier_start(layout: Layout, widths: Mapping[str, int], gain: float, draw: torch.Generator) -> dict[str, Tensor]:
    """Matrices whose parts of columns each start by themselves as `xavier` says, and biases of zero."""
    weights = {}
    for layer, (rows, columns) in layout.items():
        fan_in = sum(widths[part] for part in rows)
        weights[layer] = torch.cat([xavier(fan_in, widths[part], gain, draw) for part in columns], dim=1)
        weights[f"{layer}_bias"] = torch.zeros(1, weights[layer].shape[1])
    return weights


def uniform_start(layout: Layout, widths: Mapping[str, int], draw: torch.Generator) -> dict[str, Tensor]:
    """Matrices and biases as PyTorch's linear layers start."""
    weights = {}
    for layer, parts in layout.items():
        rows, columns = (sum(widths[part] for part in several) for several in parts)
        weights[layer] = uniform(rows, rows, columns, draw)
        weights[f"{layer}_bias"] = uniform(rows, 1, columns, draw)
    return weights


def xavier(fan_in: int, fan_out: int, gain: float, draw: torch.Generator) -> Tensor:
    """(fan_in, fan_out) uniform in ±gain·sqrt(6 / (fan_in + fan_out)) (Glorot and Bengio, 2010), on the CPU."""
    bound = gain * (6.0 / (fan_in + fan_out)) ** 0.5
    return (2 * torch.rand(fan_in, fan_out, generator=draw) - 1) * bound


def uniform(fan_in: int, rows: int, columns: int, draw: torch.Generator) -> Tensor:
    """(rows, columns) uniform in ±1/√fan_in, PyTorch's start of a linear layer's matrix and of its bias, on the CPU."""
    return (2 * torch.rand(rows, columns, generator=draw) - 1) * fan_in**-0.5


def stack_padded(matrices: Sequence[Tensor]) -> Tensor:
    """Matrices of any shapes as one (members, rows, columns) tensor, zero where a member is smaller.

    Zero weights beyond a member's width keep its activations, and so its gradients, at exactly zero there: a member of
    a population computes what it would compute alone.
    """
    rows, columns = (max(m.shape[axis] for m in matrices) for axis in (0, 1))
    stacked = matrices[0].new_zeros(len(matrices), rows, columns)
    for member, matrix in enumerate(matrices):
        stacked[member, : matrix.shape[0], : matrix.shape[1]] = matrix
    return stacked


class StackedLayers:
    """The linear layers of a population, padded to the widest member, part by part.

    parameters, gradients: a layer's name to (members, rows, columns), and `NAME_bias` to (members, 1, columns).
    """

    def __init__(
        self,
        layout: Layout,
        widths: Sequence[Mapping[str, int]],
        weights: Sequence[Mapping[str, Tensor]],
        device: torch.device,
    ) -> None:
        """widths: each member's width of every part of the layout; weights: each member's own matrices and biases."""
        self.layout, self.widths, self.device = layout, widths, device
        self.widest = {part: max(w[part] for w in widths) for part in widths[0]}
        self.parameters = self.stacked(weights)
        self.gradients = {name: torch.zeros_like(parameter) for name, parameter in self.parameters.items()}

    def __call__(self, name: str, x: Tensor) -> Tensor:
        """x: (members, rows, in); returns (members, rows, out)."""
        return stacked_linear(x, self.parameters[name], self.parameters.get(f"{name}_bias"))

    def write_gradients(self, name: str, x: Tensor, gradient: Tensor, add: bool = False) -> None:
        """Write a layer's gradients, or add to them; shapes as for `write_linear_gradients`."""
        write_linear_gradients(x, gradient, self.gradients[name], self.gradients.get(f"{name}_bias"), add)

    def stacked(self, own: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
        """Members' own tensors, shaped as their parameters, as (members, rows, columns), zero beyond their widths."""
        stacked = {}
        for name in own[0]:
            rows, columns = (sum(self.widest[part] for part in parts) for parts in self._parts(name))
            stacked[name] = torch.zeros(len(own), rows or 1, columns, device=self.device)
            for member, tensors in enumerate(own):
                stacked[name][member][self._places(member, name)] = tensors[name].to(self.device)
        return stacked

    def own(self, member: int, stacked: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Copies of one member's part of tensors shaped as the parameters, cut to its widths: `stacked`'s inverse."""
        return {name: tensor[member][self._places(member, name)] for name, tensor in stacked.items()}

    def _parts(self, name: str) -> tuple[Sequence[str], Sequence[str]]:
        rows, columns = self.layout[name.removesuffix("_bias")]
        return ((), columns) if name.endswith("_bias") else (rows, columns)

    def _places(self, member: int, name: str) -> tuple[Tensor, Tensor]:
        """Rows (own, 1) and columns (own,) of a member's own numbers among the padded ones."""
        rows, columns = (self._own_places(parts, self.widths[member]) for parts in self._parts(name))
        return rows[:, None].to(self.device), columns.to(self.device)

    def _own_places(self, parts: Sequence[str], own: Mapping[str, int]) -> Tensor:
        places, start = [torch.zeros(0 if parts else 1, dtype=torch.long)], 0  # a bias has one row and no parts
        for part in parts:
            places.append(start + torch.arange(own[part]))
            start += self.widest[part]
        return torch.cat(places)
