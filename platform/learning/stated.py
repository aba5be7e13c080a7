"""Populations from stated losses: a method says what one member's losses are, and members train side by side.

A method's losses are plain PyTorch on tensors (…, batch, width), where … is nothing for one member, and the members for
a population: the same lines are the paper's equations and what trains. Where gradients written by hand are quicker,
they stand apart (`accelerated`), and must equal those of the stated losses.
"""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import torch
from pydantic import Field
from torch import Tensor

from platform.learning.batch import Batch, MemberFields, SeenClasses
from platform.learning.network import TrainedNetwork
from platform.learning.stacked import StackedPopulation
from platform.method import Member, Method, MethodConfig, Model, Population
from platform.population.adam import PopulationAdam
from platform.population.layers import Layout
from platform.population.noise import EpochNoise
from platform.workers import Workers
from platform.zeroshot.task import Task


class Network(Protocol):
    """The layers of a member, or of a population's members, as losses call them."""

    weights: Mapping[str, Tensor]  # matrices (…, in, out), and biases (…, 1, out) as `NAME_bias`

    def __call__(self, name: str, x: Tensor) -> Tensor:
        """A layer by its name. x: (…, in); returns (…, out)."""


class AcceleratedConfig(MethodConfig):
    """Base of the Config of a method some of whose gradients are written by hand."""

    accelerate: bool = Field(True, description="gradients written by hand, where there are some (the same numbers)")


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

    loss_names: of all terms.
    occasional: terms that are not computed while their weight is zero; such steps do not count in their mean.
    reads_classes: whether losses read the text of all seen classes.
    amsgrad: which Adam.
    adversary: the name of its loss, where there is one, with which the names of its layers start.
    stacked: the population, where it is more than a `StatedPopulation`.
    accelerated: the population with gradients written by hand, if there is one.
    """

    loss_names: ClassVar[tuple[str, ...]]
    occasional: ClassVar[frozenset[str]] = frozenset()
    reads_classes: ClassVar[bool] = False
    amsgrad: ClassVar[bool] = False
    adversary: ClassVar[str] = ""
    stacked: ClassVar[type["StatedPopulation"] | None] = None
    accelerated: ClassVar[type["StatedPopulation"] | None] = None

    @abstractmethod
    def layers(self, config: Any) -> Layout:
        """Rows and columns of each layer's matrix, as names of parts."""

    @abstractmethod
    def widths(self, task: Task, config: Any) -> dict[str, int]:
        """The width of every part but `features` and `text`, unless these are not as wide as the task's."""

    @abstractmethod
    def start(self, member: Member, widths: Mapping[str, int]) -> dict[str, Tensor]:
        """A member's matrices and biases before its first step, on the CPU, from its own generator."""

    def of_classes(self, network: Network, text: Tensor) -> Mapping[str, Tensor]:
        """What losses read of the seen classes that no step changes. text: (…, S, T), zero beyond a member's own."""
        return {}

    def parts_of_noise(self, config: Any) -> Mapping[str, Sequence[str | tuple[str, ...]]]:
        """What is drawn for a batch, by purpose: parts with a normal draw each. The first is `Batch.noise`."""
        return {}

    def encoded(self, network: Network, batch: Batch) -> Any:
        """What all losses read, such as latents."""
        return None

    @abstractmethod
    def losses(self, network: Network, batch: Batch, encoded: Any) -> dict[str, Tensor]:
        """Each term (…,), which is minimised, without its weight; of the occasional ones, those of `batch.wanted`."""

    def adversary_loss(self, network: Network, batch: Batch, encoded: Any) -> Tensor:
        """(…,) what the adversary minimises, of detached tensors."""
        raise NotImplementedError

    def weights(self, config: Any, epoch: int, steps: int) -> dict[str, Tensor]:
        """The weight (steps,) of each term in an epoch, from 0; by default 1."""
        return {name: torch.ones(steps) for name in self.loss_names}

    def decay(self, config: Any, layer: str) -> float:
        """The weight decay of a layer's matrix and bias, inside Adam: λ of an L2 penalty ½λ‖w‖²."""
        return 0.0

    def learning_rate(self, config: Any, epoch: int) -> float:
        """Adam's, in an epoch, from 0."""
        return config.learning_rate

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
        quick = self.accelerated is not None and members[0].config.accelerate
        return (self.accelerated if quick else self.stacked or StatedPopulation)(self, members, workers)


class StatedPopulation(StackedPopulation):
    """Members of a `StatedMethod`; gradients are autograd's."""

    def __init__(self, method: StatedMethod, members: Sequence[Member], workers: Workers) -> None:
        self.method, self.configs, self.config = method, [m.config for m in members], members[0].config
        self.layout = self.make_layout()
        super().__init__(members, workers)
        self.data.semantics = method.prepared(self.data.semantics, self.config)
        self.seen = self._seen_classes() if method.reads_classes else None
        self.parts = method.parts_of_noise(self.config)
        self.fields = MemberFields(self.configs, self.device)
        self.decays = {n: d for n in self.optimiser.parameters if (d := self._decays(n)) is not None}
        self.step = self.replayed(self._take_step)

    def make_layout(self) -> Layout:
        return self.method.layers(self.config)

    def widths_of(self, member: Member) -> dict[str, int]:
        task = member.task
        given = {"features": task.features.shape[1], "text": task.semantics.shape[1]}
        return given | self.method.widths(task, member.config)

    def initial_weights(self, member: Member) -> dict[str, Tensor]:
        return self.method.start(member, self.widths_of(member))

    def make_optimisers(self) -> Sequence[PopulationAdam]:
        parameters, rates = self.layers.parameters, self._rates([0] * len(self.members))
        prefix = self.method.adversary
        others = {name: p for name, p in parameters.items() if prefix and name.startswith(prefix)}
        mine = {name: p for name, p in parameters.items() if name not in others}
        self.optimiser = PopulationAdam(mine, rates, amsgrad=self.method.amsgrad)
        self.adversary = PopulationAdam(others, rates) if others else None
        return [self.optimiser] + ([self.adversary] if self.adversary else [])

    def next_epoch(self) -> list[dict[str, float]]:
        method, names, size = self.method, self.method.loss_names, self.config.batch_size
        for optimiser in self.optimisers:
            optimiser.set_rates(self._rates(self.epochs))
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

    def batch_of(self, rows: Tensor, drawn: Sequence[Tensor], wanted: frozenset[str] = frozenset()) -> Batch:
        """rows: (members, batch); drawn: noise and permutation of each purpose, one after the other."""
        noise, order, *others = drawn or (None, None)
        purposes = list(self.parts)[1:]
        beside = dict(zip(purposes, zip(others[::2], others[1::2], strict=True), strict=True))
        widths = self.layers.widest
        return Batch(self.data, rows, self.seen, noise, order, beside, widths, self.config, self.fields, wanted)

    def encode(self, batch: Batch) -> Any:
        """What `differentiate` and the adversary read, with the graph that gradients are taken through."""
        self._network = TrainedNetwork(self.layers, self.trained_layers())
        with torch.enable_grad():
            return self.method.encoded(self._network, batch)

    def trained_layers(self) -> Sequence[str]:
        """Names of matrices and biases whose gradients `differentiate` writes."""
        return list(self.optimiser.parameters)

    def differentiate(self, batch: Batch, encoded: Any, weights: Tensor) -> Tensor:
        """Write the gradients of the weighted losses; returns the terms (losses, members). weights: alike."""
        with torch.enable_grad():
            found = self.method.losses(self._network, batch, encoded)
            nothing = torch.zeros_like(weights[0])
            terms = torch.stack([found.get(name, nothing) for name in self.method.loss_names])
            counted = [k for k, name in enumerate(self.method.loss_names) if name in found]
            self._network.write_gradients((terms * weights)[counted].sum())
        return terms.detach()

    def differentiate_adversary(self, batch: Batch, encoded: Any, weight: Tensor) -> Tensor:
        """Write the adversary's gradients; returns its loss (members,)."""
        network = TrainedNetwork(self.layers, self.adversary.parameters)
        with torch.enable_grad():
            loss = self.method.adversary_loss(network, batch, encoded)
            network.write_gradients((loss * weight).sum())
        return loss.detach()

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
        batch = self.batch_of(rows, drawn, wanted)
        encoded, own = self.encode(batch), torch.zeros_like(weights[0])
        first = adversary and self.method.adversary_first(self.config)
        if first:
            own = self._adversary_step(batch, encoded, weights, due)
        terms = self.differentiate(batch, encoded, weights)
        for name, decay in self.decays.items():
            self.layers.gradients[name].addcmul_(self.layers.parameters[name], decay)
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

    def _seen_classes(self) -> SeenClasses:
        text, exist = self.data.seen_text()
        return SeenClasses(text, exist, self.method.of_classes(TrainedNetwork(self.layers, ()), text))

    def _rates(self, epochs: Sequence[int]) -> list[float]:
        return [self.method.learning_rate(config, epoch) for config, epoch in zip(self.configs, epochs, strict=True)]

    def _decays(self, name: str) -> Tensor | None:
        """(members, 1, 1) weight decays of a matrix or bias; None where nobody has any."""
        decays = [float(self.method.decay(config, name.removesuffix("_bias"))) for config in self.configs]
        return torch.tensor(decays, device=self.device)[:, None, None] if any(decays) else None

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
