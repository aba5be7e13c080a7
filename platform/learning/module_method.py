"""A method from one `nn.Module`: the platform trains it, keeps its state, saves it, and gives it new classes.

A subclass states the module, its loss and its scores; CONTRIBUTING.md has a whole one.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, Self

import torch
from pydantic import Field
from torch import Tensor, nn

from platform.configuration import searched
from platform.method import Learner, LearnerMethod, Member, MethodConfig, Model, tensors_of
from platform.population.draws import generator, named_draws, shuffled_rows
from platform.workers import Workers


class ModuleConfig(MethodConfig):
    """Base of such a method's Config."""

    learning_rate: float = searched(1e-3, log_uniform=[1e-4, 1e-2], gt=0, description="of the optimiser")
    combination: Literal["stacking", "soft", "hard", "joint"] = Field(
        "stacking",
        description="calibrated stacking (Chao et al., 2016), a soft or hard gate, or joint: the scores as they are",
    )


@dataclass(frozen=True)
class Batch:
    """Training samples, and what describes them.

    x: (B, D) features; labels: (B,) in 0 … S − 1; semantics: (S, T) of all seen classes; y: (B, T), each sample's own.
    """

    x: Tensor
    labels: Tensor
    semantics: Tensor

    @property
    def y(self) -> Tensor:
        return self.semantics[self.labels]


class ModuleMethod(LearnerMethod):
    """A method whose members train one module each. What its loss draws from torch's generators, the seed names."""

    data_parallel = "equal"

    @abstractmethod
    def module(self, config: Any, features: int, text: int) -> nn.Module:
        """A fresh module. features: D, width of a sample; text: T, width of a class's semantics."""

    @abstractmethod
    def loss(self, module: nn.Module, batch: Batch, config: Any) -> Tensor | Mapping[str, Tensor]:
        """What is minimised: a mean over the batch, or several by name, whose sum is."""

    @abstractmethod
    def scores(self, module: nn.Module, x: Tensor, semantics: Tensor, config: Any) -> Tensor:
        """(N, C) logits of samples x (N, D) among classes of semantics (C, T); the platform normalises them."""

    def optimiser(self, module: nn.Module, config: Any) -> torch.optim.Optimizer:
        """Adam with the config's learning rate, unless a method says otherwise."""
        return torch.optim.Adam(module.parameters(), lr=config.learning_rate)

    def rate(self, epoch: int, config: Any) -> float:
        """By what the learning rate is multiplied in an epoch, from 0; always 1, unless a method says otherwise."""
        return 1.0

    def learner(self, member: Member, workers: Workers) -> Learner:
        return _ModuleLearner(self, member, workers)

    def restored(self, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> Model:
        common = {name: values[name] for name in ("seen", "unseen", "combination")}
        return ModuleModel(
            **common,
            method=self,
            config=self.Config(**values["config"]),
            weights=tensors_of(tensors, "weights"),
            semantics=tensors["semantics"],
            features=values["features"],
        )


@dataclass(frozen=True)
class ModuleModel(Model):
    """A trained module. weights: its state by name; semantics: (S + U, T), the seen classes first; features: D."""

    method: ModuleMethod = field(repr=False)
    config: Any
    weights: Mapping[str, Tensor] = field(repr=False)
    semantics: Tensor = field(repr=False)
    features: int

    @property
    def learns_seen_classes(self) -> bool:
        return True

    def seen_scores(self, x: Tensor) -> Tensor:
        return self._logits(x, self.semantics[: len(self.seen)]).log_softmax(dim=1)

    def unseen_scores(self, x: Tensor) -> Tensor:
        return self._logits(x, self.semantics[len(self.seen) :]).log_softmax(dim=1)

    def sides(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if self.config.combination not in ("stacking", "joint"):
            return super().sides(x)
        scores = self._logits(x, self.semantics).log_softmax(dim=1)
        return scores[:, : len(self.seen)], scores[:, len(self.seen) :]

    def with_classes(self, names: Sequence[str], semantics: Tensor) -> Self:
        semantics = self.as_wide(semantics, self.semantics)
        return replace(self, unseen=tuple(names), semantics=torch.cat([self.semantics[: len(self.seen)], semantics]))

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        tensors = {f"weights.{name}": tensor for name, tensor in self.weights.items()} | {"semantics": self.semantics}
        return tensors, {"config": self.config.model_dump(), "features": self.features}

    @classmethod
    def from_state(cls, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> Self:
        raise NotImplementedError("its method makes it again: see `restored`")

    def _logits(self, x: Tensor, semantics: Tensor) -> Tensor:
        with torch.no_grad():
            return self.method.scores(self._module, x, semantics, self.config)

    @cached_property
    def _module(self) -> nn.Module:
        with torch.device("meta"):
            module = self.method.module(self.config, self.features, self.semantics.shape[1])
        module.load_state_dict(self.weights, assign=True)
        return module.requires_grad_(False).eval()


class _ModuleLearner(Learner):
    """A member's module and optimiser, and how far it is. One whose losses are not finite is left as it is."""

    def __init__(self, method: ModuleMethod, member: Member, workers: Workers) -> None:
        self.method, self.config, self.seed, self.workers = method, member.config, member.seed, workers
        self.names, self.task = (member.task.seen, member.task.unseen), member.task.to(workers.device)
        state = member.state or {}
        with named_draws(workers.device, self.seed, "weights"):
            self.module = method.module(self.config, self.task.features.shape[1], self.task.semantics.shape[1])
        self.module.to(workers.device)
        self.optimiser = method.optimiser(self.module, self.config)
        self.first_rates = [group["lr"] for group in self.optimiser.param_groups]
        self.epoch, self.alive = int(state.get("epoch", 0)), bool(state.get("alive", True))
        if state:
            self.module.load_state_dict(tensors_of(state, "module"))
            self._load_optimiser(tensors_of(state, "optimiser"))

    def train_epoch(self) -> dict[str, float]:
        if not self.alive:
            self.epoch += 1
            return {"loss": float("nan")}
        task, config = self.task, self.config
        for group, first in zip(self.optimiser.param_groups, self.first_rates, strict=True):
            group["lr"] = first * self.method.rate(self.epoch, config)
        draw = generator(self.seed, "shuffle", self.epoch, device=self.workers.device)
        rows = shuffled_rows(len(task.labels), config.batch_size, draw)[:, self.workers.share(config.batch_size)]
        totals: dict[str, Tensor] = {}
        self.module.train()
        with torch.enable_grad(), named_draws(self.workers.device, self.seed, "epoch", self.epoch):
            for own in rows:
                batch = Batch(task.features[own], task.labels[own], task.semantics[: len(task.seen)])
                losses = self.method.loss(self.module, batch, config)
                losses = dict(losses) if isinstance(losses, Mapping) else {"loss": losses}
                self.optimiser.zero_grad()
                sum(losses.values()).backward()
                self.workers.average([p.grad for p in self.module.parameters() if p.grad is not None])
                self.optimiser.step()
                for name, value in losses.items():
                    totals[name] = totals.get(name, 0) + value.detach()
        means = self.workers.average([torch.stack(list(totals.values()))])[0] / len(rows)
        self.alive, self.epoch = bool(means.isfinite().all()), self.epoch + 1
        return dict(zip(totals, means.tolist(), strict=True))

    def model(self) -> ModuleModel:
        seen, unseen = self.names
        return ModuleModel(
            seen=seen,
            unseen=unseen,
            combination=None,
            method=self.method,
            config=self.config,
            weights=self._weights(),
            semantics=self.task.semantics,
            features=self.task.features.shape[1],
        )

    def state(self) -> dict[str, Tensor]:
        state = {"epoch": torch.tensor(self.epoch), "alive": torch.tensor(self.alive)}
        state |= {f"module.{name}": tensor for name, tensor in self._weights().items()}
        for number, values in self.optimiser.state_dict()["state"].items():
            for name, value in values.items():
                state[f"optimiser.{number}.{name}"] = torch.as_tensor(value).clone()
        return state

    def _weights(self) -> dict[str, Tensor]:
        return {name: tensor.detach().clone() for name, tensor in self.module.state_dict().items()}

    def _load_optimiser(self, saved: Mapping[str, Tensor]) -> None:
        values: dict[int, dict[str, Tensor]] = {}
        for key, tensor in saved.items():
            number, name = key.split(".", 1)
            values.setdefault(int(number), {})[name] = tensor.clone()
        self.optimiser.load_state_dict({**self.optimiser.state_dict(), "state": values})
