"""Populations from stated losses: a method says what one member's losses are, and members train side by side.

A method's losses are plain PyTorch on tensors (…, batch, width), where … is nothing for one member, and the members for
a population: the same lines are the paper's equations and what trains. Where gradients written by hand are quicker,
they stand apart (`accelerated`), and must equal those of the stated losses.
"""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from platform.learning.stacked import StackedPopulation
from platform.method import Member, Method, MethodConfig, Model, Population
from platform.population.adam import PopulationAdam
from platform.population.layers import Layout, stacked_linear
from platform.population.noise import EpochNoise
from platform.workers import Workers
from platform.zeroshot.task import Task

Network = Callable[[str, Tensor], Tensor]  # a layer's name and its input (…, in) to its output (…, out)


class StatedConfig(MethodConfig):
    """Base of such a method's Config."""

    accelerate: bool = Field(True, description="gradients written by hand, where there are some (the same numbers)")


@dataclass(frozen=True)
class Batch:
    """What a step is given, of one member or of a population's.

    x: (…, B, D) features; y: (…, B, T) each sample's class text; noise: (…, B, width) standard normal draws of all
    parts that the method names; order: (…, B), a permutation of the batch; beside: noise and order of other draws, by
    purpose; widths: of the parts; choices: which members have a field's value.
    """

    x: Tensor
    y: Tensor
    noise: Tensor
    order: Tensor
    beside: Mapping[str, tuple[Tensor, Tensor]]
    widths: Mapping[str, int]
    choices: "Choices"


class Choices:
    """Fields in which members of a population may differ, asked for in the middle of a loss."""

    def __init__(self, configs: Sequence[Any], device: torch.device) -> None:
        self.configs, self.device = configs, device
        self._masks: dict[tuple[str, Any], tuple[Tensor, bool, bool]] = {}

    def where(self, field: str, value: Any, then: Callable[[], Tensor], otherwise: Tensor) -> Tensor:
        """`then()` for members whose field has the value, else `otherwise`; both (…, batch, width) or (…,)."""
        if (field, value) not in self._masks:
            chosen = [getattr(config, field) == value for config in self.configs]
            self._masks[field, value] = torch.tensor(chosen, device=self.device), any(chosen), all(chosen)
        mask, some, everyone = self._masks[field, value]
        if not some:
            return otherwise
        found = then()
        return found if everyone else torch.where(mask.view(-1, *(1,) * (found.dim() - 1)), found, otherwise)


@dataclass(frozen=True)
class Trained:
    """A member whose model is wanted. weights: of its layers, at its own widths; task: its own, on the device."""

    member: Member
    weights: dict[str, Tensor]
    task: Task

    def model(self, kind: type[Model]) -> Any:
        """A model that its weights and its unseen classes' text make, with nothing fitted on top."""
        member, task = self.member, self.task
        return kind(
            seen=task.seen,
            unseen=task.unseen,
            combination=None,
            config=member.config,
            seed=member.seed,
            weights=self.weights,
            semantics=task.semantics[len(task.seen) :],
        )


class StatedMethod(Method):
    """A method that states its losses. What it takes as `config` may be any member's of a population: they share
    `pack_by`.

    accelerated: the population with gradients written by hand, if there is one; losses: names of all terms; occasional:
    those that are left out, and not counted in the mean, while their weight is zero; amsgrad: which Adam; adversary: of
    whom there is one, how the names of its layers start, and the name of its loss.
    """

    accelerated: ClassVar[type["StatedPopulation"] | None] = None
    loss_names: ClassVar[tuple[str, ...]]
    occasional: ClassVar[frozenset[str]] = frozenset()
    amsgrad: ClassVar[bool] = False
    adversary: ClassVar[str] = ""

    @abstractmethod
    def layers(self, config: Any) -> Layout:
        """Rows and columns of each layer's matrix, as names of parts."""

    @abstractmethod
    def widths(self, task: Task, config: Any) -> dict[str, int]:
        """The width of every part."""

    @abstractmethod
    def start(self, member: Member, widths: Mapping[str, int]) -> dict[str, Tensor]:
        """A member's matrices and biases before its first step, on the CPU, from its own generator."""

    @abstractmethod
    def parts_of_noise(self, config: Any) -> Mapping[str, Sequence[str | tuple[str, ...]]]:
        """What is drawn for a batch, by purpose: parts with a normal draw each. The first is `Batch.noise`."""

    @abstractmethod
    def encoded(self, network: Network, batch: Batch, config: Any) -> Any:
        """What all losses read, such as latents."""

    @abstractmethod
    def losses(
        self, network: Network, batch: Batch, encoded: Any, wanted: frozenset[str], config: Any
    ) -> dict[str, Tensor]:
        """Each term (…,), a mean over the batch. wanted: the occasional ones that count for some member."""

    def adversary_loss(self, network: Network, batch: Batch, encoded: Any, config: Any) -> Tensor:
        """(…,) what the adversary minimises, of detached tensors."""
        raise NotImplementedError

    @abstractmethod
    def weights(self, config: Any, epoch: int, steps: int) -> dict[str, Tensor]:
        """The weight (steps,) of each term in an epoch, from 0."""

    def turns(self, config: Any, epoch: int, steps: int) -> Tensor:
        """(steps,) bool: when the adversary takes a step."""
        return torch.zeros(steps, dtype=torch.bool)

    def adversary_first(self, config: Any) -> bool:
        """Whether its step comes before the others'."""
        return False

    def steps_of_epoch(self, config: Any) -> int | None:
        """None for one pass over a member's samples."""
        return None

    @abstractmethod
    def models(self, trained: Sequence[Trained]) -> Sequence[Model]:
        """Models of members as they are now, with whatever is fitted on top of their layers."""

    def check(self, members: Sequence[Member]) -> None:
        """Raise InputError where a member cannot be trained, and warn of what a user should know."""

    def prepared(self, semantics: Tensor, config: Any) -> Tensor:
        """Class text (C, T) as the networks see it."""
        return semantics

    def population(self, members: Sequence[Member], workers: Workers) -> Population:
        """Members that share `pack_by`; task, seed and every other field may differ."""
        self.check(members)
        quick = members[0].config.accelerate and self.accelerated is not None
        return (self.accelerated if quick else StatedPopulation)(self, members, workers)


class StatedPopulation(StackedPopulation):
    """Members of a `StatedMethod`; gradients are autograd's."""

    def __init__(self, method: StatedMethod, members: Sequence[Member], workers: Workers) -> None:
        self.method, self.configs, self.config = method, [m.config for m in members], members[0].config
        self.layout = method.layers(self.config)
        super().__init__(members, workers)
        self.data.semantics = method.prepared(self.data.semantics, self.config)
        self.parts = method.parts_of_noise(self.config)
        self.choices = Choices(self.configs, self.device)
        self.step = self.replayed(self._take_step)

    def widths_of(self, member: Member) -> dict[str, int]:
        return self.method.widths(member.task, member.config)

    def initial_weights(self, member: Member) -> dict[str, Tensor]:
        return self.method.start(member, self.widths_of(member))

    def make_optimisers(self) -> Sequence[PopulationAdam]:
        parameters, rates = self.layers.parameters, [c.learning_rate for c in self.configs]
        prefix = self.method.adversary
        others = {name: p for name, p in parameters.items() if prefix and name.startswith(prefix)}
        mine = {name: p for name, p in parameters.items() if name not in others}
        self.optimiser = PopulationAdam(mine, rates, amsgrad=self.method.amsgrad)
        self.adversary = PopulationAdam(others, rates) if others else None
        return [self.optimiser] + ([self.adversary] if self.adversary else [])

    def next_epoch(self) -> list[dict[str, float]]:
        method, names, size = self.method, self.method.loss_names, self.config.batch_size
        own_steps = [method.steps_of_epoch(c) for c in self.configs]
        steps, rows = self.data.batches(self.epochs, size, own_steps if own_steps[0] is not None else None)
        mine = self.workers.share(size)
        rows = rows[:, :, mine]  # (longest, members, batch)
        weights = self.loss_weights(steps)  # (longest, losses, members)
        active = self.alive & (
            torch.arange(len(rows), device=self.device)[:, None] < torch.tensor(steps, device=self.device)
        )
        counted = torch.stack(
            [active & (weights[:, k] > 0) if name in method.occasional else active for k, name in enumerate(names)],
            dim=1,
        )  # (longest, losses, members)
        due = active & self.turns(steps) if self.adversary else torch.zeros_like(active)
        if self.adversary:
            counted[:, names.index(method.adversary)] = due
        draws = [self._noise(purpose, parts, mine) for purpose, parts in self.parts.items()]
        occasional = [k for k, name in enumerate(names) if name in method.occasional]
        wanted = counted[:, occasional].any(2).tolist()
        kinds = list(zip(active.all(1).tolist(), map(tuple, wanted), due.any(1).tolist(), strict=True))
        losses = torch.zeros(len(rows), len(names), len(self.members), device=self.device)
        for step, kind in enumerate(kinds):
            drawn = [part for draw in draws for part in draw.step(step)]
            losses[step] = self.step(kind, rows[step], weights[step], active[step], due[step], *drawn)
        totals = torch.where(counted, losses, 0.0).sum(dim=0, dtype=torch.float64).float()
        counts = counted.sum(dim=0)
        for k, name in enumerate(names):
            if name in method.occasional or name == method.adversary:
                counts[k].clamp_(min=1)
        return self.report(names, self.workers.average([totals])[0] / counts)

    def models(self, places: Sequence[int]) -> Sequence[Model]:
        parameters = self.layers.parameters
        return self.method.models(
            [Trained(self.members[m], self.layers.own(m, parameters), self.data.tasks[m]) for m in places]
        )

    def loss_weights(self, steps: Sequence[int]) -> Tensor:
        """(longest, losses, members): the weight of each term at each step; zero after a shorter member's last."""
        return self._by_member(
            steps,
            lambda config, epoch, count: torch.stack(
                [self.method.weights(config, epoch, count)[name] for name in self.method.loss_names], dim=1
            ),
        )

    def turns(self, steps: Sequence[int]) -> Tensor:
        """(longest, members) bool: whose adversary takes a step."""
        return self._by_member(steps, self.method.turns)

    def encode(self, batch: Batch) -> Any:
        """What `differentiate` and the adversary read, with the graph that gradients are taken through."""
        self._leaves = {n: self.layers.parameters[n].detach().requires_grad_() for n in self.optimiser.parameters}
        with torch.enable_grad():
            return self.method.encoded(self._network(self._leaves), batch, self.config)

    def differentiate(self, batch: Batch, encoded: Any, weights: Tensor, wanted: frozenset[str]) -> Tensor:
        """Write the gradients of the weighted losses; returns the terms (losses, members). weights: alike."""
        names = list(self.optimiser.parameters)
        with torch.enable_grad():
            network = self._network(self._leaves)
            found = self.method.losses(network, batch, encoded, wanted, self.config)
            nothing = torch.zeros_like(weights[0])
            terms = torch.stack([found.get(name, nothing) for name in self.method.loss_names])
            total = (terms * weights)[[n in found for n in self.method.loss_names]].sum()
            gradients = torch.autograd.grad(total, [self._leaves[name] for name in names], allow_unused=True)
        for name, gradient in zip(names, gradients, strict=True):
            self.layers.gradients[name].copy_(gradient) if gradient is not None else self.layers.gradients[name].zero_()
        return terms.detach()

    def differentiate_adversary(self, batch: Batch, encoded: Any, weight: Tensor) -> Tensor:
        """Write the adversary's gradients; returns its loss (members,)."""
        names = list(self.adversary.parameters)
        leaves = {name: self.layers.parameters[name].detach().requires_grad_() for name in names}
        with torch.enable_grad():
            loss = self.method.adversary_loss(self._network(leaves), batch, encoded, self.config)
            gradients = torch.autograd.grad((loss * weight).sum(), [leaves[name] for name in names])
        for name, gradient in zip(names, gradients, strict=True):
            self.layers.gradients[name].copy_(gradient)
        return loss.detach()

    def batch_of(self, rows: Tensor, drawn: Sequence[Tensor]) -> Batch:
        """rows: (members, batch); drawn: noise and permutation of each purpose, one after the other."""
        noise, order, *others = drawn
        purposes = list(self.parts)[1:]
        beside = dict(zip(purposes, zip(others[::2], others[1::2], strict=True), strict=True))
        return Batch(*self.data.batch(rows), noise, order, beside, self.layers.widest, self.choices)

    def _take_step(
        self,
        kind: tuple[bool, tuple[bool, ...], bool],
        rows: Tensor,
        weights: Tensor,
        active: Tensor,
        due: Tensor,
        *drawn: Tensor,
    ) -> Tensor:
        """One step of all members; returns the terms (losses, members).

        kind: whether all members take part, which occasional terms count for any, and whether any adversary is due.
        rows: (members, batch); weights: (losses, members); active, due: (members,).
        """
        everyone, counted, adversary = kind
        names = self.method.loss_names
        occasional = [name for name in names if name in self.method.occasional]
        wanted = frozenset(name for name, counts in zip(occasional, counted, strict=True) if counts)
        batch = self.batch_of(rows, drawn)
        encoded, own = self.encode(batch), torch.zeros_like(weights[0])
        first = adversary and self.method.adversary_first(self.config)
        if first:
            own = self._adversary_step(batch, encoded, weights, due)
        terms = self.differentiate(batch, encoded, weights, wanted)
        gradients = [self.layers.gradients[name] for name in self.optimiser.parameters]
        self.optimiser.step(self.workers.average(gradients), None if everyone else active)
        if adversary and not first:
            own = self._adversary_step(batch, encoded, weights, due)
        if self.adversary:
            terms[names.index(self.method.adversary)] = own
        return terms

    def _adversary_step(self, batch: Batch, encoded: Any, weights: Tensor, due: Tensor) -> Tensor:
        own = self.differentiate_adversary(batch, encoded, weights[self.method.loss_names.index(self.method.adversary)])
        gradients = [self.layers.gradients[name] for name in self.adversary.parameters]
        self.adversary.step(self.workers.average(gradients), due)
        return own

    def _network(self, leaves: Mapping[str, Tensor]) -> Network:
        """The layers, of which gradients reach `leaves` alone."""
        parameters = {**self.layers.parameters, **leaves}
        return lambda name, x: stacked_linear(x, parameters[name], parameters[f"{name}_bias"])

    def _noise(self, purpose: str, parts: Sequence[str | tuple[str, ...]], mine: slice) -> EpochNoise:
        return EpochNoise(
            [m.seed for m in self.members],
            self.epochs,
            parts,
            self.widths,
            [getattr(c, "noise", "dimension") == "sample" for c in self.configs],
            self.config.batch_size,
            mine,
            self.device,
            purpose,
        )

    def _by_member(self, steps: Sequence[int], of: Callable[[Any, int, int], Tensor]) -> Tensor:
        """(longest, …, members) of what each member has (its own steps, …), zero after its last step."""
        columns = []
        for config, epoch, count in zip(self.configs, self.epochs, steps, strict=True):
            own = of(config, epoch, count)
            padded = own.new_zeros(max(steps), *own.shape[1:])
            padded[:count] = own
            columns.append(padded)
        return torch.stack(columns, dim=-1).to(self.device)
