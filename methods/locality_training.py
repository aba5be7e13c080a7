"""How one member of ERPCNet is trained: its network by stochastic gradient descent, then its policy by PPO."""

import copy
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from methods.locality_network import (
    augmented,
    centred,
    fresh_network,
    network_of,
    normalised,
    squares,
)
from methods.locality_policy import LocalityPolicy, first_weights
from methods.locality_walks import Walk, by_policy, walked
from platform.method import Learner, Member, Model
from platform.population.draws import generator, shuffled_rows
from platform.workers import Workers

if TYPE_CHECKING:
    from methods.environments.localities import Localities

_LOSSES = ("global", "local", "joint", "maximum")
_EMBEDDED_AT_ONCE = 64  # pictures


class LocalityLearner(Learner):
    """A member's network, optimiser and policy, and how far it is.

    A member whose losses are no longer finite is left as it is. Stage II needs every training picture's localities,
    N·G·E numbers for each member; they are computed once, and again after a restart, or where members leave or join.
    """

    def __init__(self, member: Member, workers: Workers, kind: type[Model]) -> None:
        """kind: of the models that it makes."""
        self.config, self.task, self.seed, self.workers, self.kind = (
            member.config,
            member.task,
            member.seed,
            workers,
            kind,
        )
        squares(self.task.features, self.config.side)  # raises where they are no pictures
        state, width = member.state, self.task.semantics.shape[1]
        if state:
            weights = {name: t.to(workers.device, copy=True) for name, t in _named(state, "weights").items()}
            self.network = network_of(self.config, width, weights)
        else:
            self.network = fresh_network(self.config, width, self.seed).to(workers.device)
        self.text = self.task.semantics[: len(self.task.seen)].to(workers.device)
        self.epoch = int(state["epoch"]) if state else 0
        self.alive = bool(state["alive"]) if state else True
        self.policy = {name: t.to(workers.device) for name, t in _named(state, "policy").items()} if state else {}
        self.optimiser = self._optimiser(_named(state, "momentum") if state else {})
        self.localities: Localities | None = None
        self.finite = True  # whether all that rewards are made of is
        self.fixed: dict[str, Tensor] | None = None  # the network's weights, once they no longer change

    def train_epoch(self) -> dict[str, float]:
        """The next epoch, of either stage; gives its mean losses or returns, not finite once a member has diverged."""
        first_stage = self.epoch < self.config.network_epochs
        if not self.alive:
            found = dict.fromkeys((*_LOSSES, "accuracy"), float("nan"))
        elif first_stage:
            found = self._train_network()
        else:
            found = self._train_policy()
        self.alive = self.alive and all(torch.isfinite(torch.tensor(value)) for value in found.values())
        self.epoch += 1
        return found

    def model(self) -> Model:
        task = self.task
        return self.kind(
            seen=task.seen,
            unseen=task.unseen,
            combination=None,
            config=self.config,
            seed=self.seed,
            weights=self.fixed or _copied(self.network),
            policy=dict(self.policy),
            semantics=task.semantics.to(self.workers.device),
        )

    def state(self) -> dict[str, Tensor]:
        """All that its next epochs depend on; of the optimiser, only while the network is trained."""
        state = {"epoch": torch.tensor(self.epoch), "alive": torch.tensor(self.alive)}
        state |= {f"weights.{name}": t for name, t in (self.fixed or _copied(self.network)).items()}
        state |= {f"policy.{name}": t.clone() for name, t in self.policy.items()}
        if self.epoch < self.config.network_epochs:
            for name, parameter in self.network.named_parameters():
                if "momentum_buffer" in self.optimiser.state[parameter]:
                    state[f"momentum.{name}"] = self.optimiser.state[parameter]["momentum_buffer"].clone()
        return state

    def _optimiser(self, momentum: dict[str, Tensor]) -> torch.optim.SGD:
        config, groups = self.config, {True: [], False: []}
        for name, parameter in self.network.named_parameters():
            if parameter.requires_grad:
                groups[self.network.is_fresh(name)].append((name, parameter))
        rates = {True: config.learning_rate * config.fresh_rate, False: config.learning_rate}
        optimiser = torch.optim.SGD(
            [
                {"params": [p for _, p in own], "lr": rates[fresh], "first": rates[fresh]}
                for fresh, own in groups.items()
            ],
            lr=config.learning_rate,
            momentum=config.momentum,
            weight_decay=config.weight_decay,
        )
        for name, parameter in (pair for own in groups.values() for pair in own):
            if name in momentum:
                optimiser.state[parameter]["momentum_buffer"] = momentum[name].to(parameter.device, copy=True)
        return optimiser

    def _train_network(self) -> dict[str, float]:
        """An epoch of stage I: cells at random, T steps, no early end."""
        config, network, workers = self.config, self.network, self.workers
        size, world, rank = config.batch_size, workers.world_size, workers.rank
        for group in self.optimiser.param_groups:
            group["lr"] = group["first"] * 0.1 ** (self.epoch // config.decay_epochs)
        rows = shuffled_rows(len(self.task.labels), size, generator(self.seed, "shuffle", self.epoch))
        rows = rows[:, size * rank // world : size * (rank + 1) // world]  # this worker's share of each batch
        names = _LOSSES if network.cells else _LOSSES[:1]
        totals = torch.zeros(len(names) + 1, device=workers.device)
        network.train()
        with torch.enable_grad(), _named_draws(workers.device, self.seed, "epoch", self.epoch, rank):
            for batch in rows:
                pictures = augmented(self._pictures(batch), config.side, config.smallest_crop)
                labels = self.task.labels[batch].to(workers.device)
                chosen = None
                if network.cells:
                    chosen = torch.rand(len(batch), network.cells).argsort(dim=1)[:, : config.steps].to(workers.device)
                terms, right = network.terms(normalised(pictures.to(workers.device)), labels, self.text, chosen)
                self.optimiser.zero_grad()
                terms.sum().backward()
                workers.average([p.grad for p in network.parameters() if p.grad is not None])
                if config.gradient_cut:
                    clip_grad_norm_(network.parameters(), config.gradient_cut)
                self.optimiser.step()
                totals += torch.cat([terms.detach(), right.float().mean()[None]])
        if world > 1:  # each worker's batch normalisation has seen its own share
            workers.average([buffer for buffer in network.buffers() if buffer.is_floating_point()])
        means = workers.average([totals])[0] / len(rows)
        return dict(zip((*names, "accuracy"), means.tolist(), strict=True))

    def _train_policy(self) -> dict[str, float]:
        """An epoch of stage II: the policy learns where to look; everything else stays as it is."""
        from methods.environments.locality_ppo import LocalityPPOOptions, improved  # Ray stands behind it

        config, workers, network = self.config, self.workers, self.network.eval().requires_grad_(False)
        self.fixed = self.fixed or network.state_dict()
        self.optimiser.zero_grad(set_to_none=True)  # stage II needs the room
        self.optimiser.state.clear()
        draw = generator(self.seed, "policy", self.epoch)
        policy = self.policy or first_weights(network.width, network.cells, draw)
        seed = int(torch.randint(1 << 30, (), generator=draw))
        policy = {name: t.to(workers.device) for name, t in policy.items()}
        names, values = ("policy_return", "random_return", "policy_steps", "random_steps", "accuracy"), [math.nan] * 5
        if workers.rank == 0:  # the others take what it finds
            with torch.no_grad():
                localities = self._everywhere()
                options = LocalityPPOOptions(
                    iterations=config.policy_iterations,
                    steps=config.steps,
                    sigma=config.sigma,
                    learning_rate=config.policy_learning_rate,
                    episodes=config.policy_episodes,
                    envs=min(32, config.policy_episodes),
                    env_runners=config.env_runners,
                    sigmoid_head=config.policy_sigmoid,
                )
            if self.finite:  # else it has diverged, and no action can be drawn
                played = self._on_cpu(localities) if config.env_runners else localities
                learned, found = improved(policy, played, options, seed)
                policy = {name: learned[name].to(workers.device) for name in policy}  # every worker's order is this one
                if all(bool(t.isfinite().all()) for t in policy.values()):
                    values = [*(found[name] for name in names[:-1]), self._accuracy(policy, localities)]
        told = [torch.tensor(values, dtype=torch.float64), *(t.clone() for t in policy.values())]
        if workers.world_size > 1:
            sent = [t.to(workers.device) for t in told]
            told = workers.average([t * workers.world_size if workers.rank == 0 else torch.zeros_like(t) for t in sent])
        self.policy = dict(zip(policy, told[1:], strict=True))
        return dict(zip(names, told[0].tolist(), strict=True))

    def _everywhere(self) -> "Localities":
        """ē_g and every cell's ē_l and β of all training pictures, computed once."""
        from methods.environments.localities import Localities

        if self.localities is not None:
            return self.localities
        network, labels = self.network, self.task.labels.to(self.workers.device)
        count, cells, width = len(labels), network.cells, network.width
        # places first: of a whole data set they are gigabytes, of which there is room for one copy
        places, whole, ratios = (self.text.new_empty(count, *size) for size in ((cells, width), (width,), (cells,)))
        for rows in torch.arange(count).split(_EMBEDDED_AT_ONCE):
            pictures = centred(self.task.features[rows.to(self.task.features.device)], self.config.side)
            maps, whole[rows] = network.embedded(normalised(pictures.to(self.workers.device)))
            places[rows], ratios[rows] = network.everywhere(maps)
        believed = (network.global_attributes(whole) @ self.text.T).softmax(dim=1)
        self.localities = Localities(
            global_embeddings=whole,
            embeddings=places,
            ratios=ratios if self.config.entropy else torch.ones_like(ratios),
            labels=labels,
            global_probability=believed.gather(1, labels[:, None])[:, 0],
            joint=partial(_believed, network.fc_j1, network.fc_j2, self.text),
        )
        self.finite = all(self._is_finite(self.localities, rows) for rows in torch.arange(count).split(1024))
        return self.localities

    def _is_finite(self, localities: "Localities", rows: Tensor) -> bool:
        """Whether all that some pictures' rewards are made of is; fc_j is tried at its full length."""
        whole, places = localities.global_embeddings[rows, None], localities.embeddings[rows]
        joint = localities.joint(torch.cat([whole, places[:, : self.config.steps]], dim=1).flatten(1))
        known = (places, localities.ratios[rows], localities.global_probability[rows], joint)
        return all(bool(values.isfinite().all()) for values in known)

    def _on_cpu(self, localities: "Localities") -> "Localities":
        """As other processes are sent it, which may have no GPU."""
        tensors = {f.name: getattr(localities, f.name).cpu() for f in fields(localities) if f.name != "joint"}
        layers = [copy.deepcopy(layer).cpu() for layer in (self.network.fc_j1, self.network.fc_j2)]
        return replace(localities, joint=partial(_believed, *layers, self.text.cpu()), **tensors)

    def _accuracy(self, policy: dict[str, Tensor], localities: "Localities") -> float:
        """Share of the training pictures that the union recognises among the seen classes, as the walks end."""
        config, right = self.config, 0.0
        with torch.no_grad():
            for rows in torch.arange(len(localities.labels), device=self.workers.device).split(1024):
                walk = self._walk_of(rows, policy, localities)
                ends = walk.ends(self.text, config.sigma, config.entropy)
                found = walk.predictions(self.text)[torch.arange(len(rows), device=rows.device), ends].argmax(dim=1)
                right += (found == localities.labels[rows]).sum().item()
        return right / len(localities.labels)

    def _walk_of(self, rows: Tensor, policy: dict[str, Tensor], localities: "Localities") -> Walk:
        def look(chosen: Tensor) -> tuple[Tensor, Tensor]:
            return localities.embeddings[rows, chosen], localities.ratios[rows, chosen]

        choose = by_policy(LocalityPolicy(policy, self.config.policy_sigmoid), len(rows), rows.device)
        return walked(self.network, localities.global_embeddings[rows], look, choose)

    def _pictures(self, rows: Tensor) -> Tensor:
        """(n, 3, S, S) uint8, where the task keeps them."""
        return squares(self.task.features[rows.to(self.task.features.device)], self.config.side)


def _believed(fc_j1: nn.Linear, fc_j2: nn.Linear, text: Tensor, sequence: Tensor) -> Tensor:
    """(n, S) probabilities of fc_j, no dropout in it. text: (S, A); sequence: (n, (T + 1)·E), filled with zeros."""
    with torch.no_grad():
        return (fc_j2(fc_j1(sequence.to(text))) @ text.T).softmax(dim=1)


@contextmanager
def _named_draws(device: torch.device, *names: object) -> Iterator[None]:
    """All that draws from torch's own generators, as torchvision and dropout do, draws what the names say."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(int(torch.randint(1 << 62, (), generator=generator(*names))))
        yield


def _copied(network: torch.nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}


def _named(state: Any, kind: str) -> dict[str, Tensor]:
    return {name.removeprefix(f"{kind}."): t for name, t in state.items() if name.startswith(f"{kind}.")}
