"""Stage II of ERPCNet: the policy learns where to look, by PPO, while everything else stays as it is."""

import copy
import math
from dataclasses import fields, replace
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from methods.erpcnet.config import ERPCNetConfig
from methods.erpcnet.network import LocalityNetwork
from methods.erpcnet.pictures import centred, in_batches, normalised
from methods.erpcnet.policy import LocalityPolicy, first_weights
from methods.erpcnet.walks import Walk, by_policy, walked
from platform.population.draws import generator
from platform.workers import Workers
from platform.zeroshot.task import Task

if TYPE_CHECKING:
    from methods.environments.localities import Localities

_EMBEDDED_AT_ONCE = 64  # pictures


class PolicyTraining:
    """Stage II of one member, whose network it fixes.

    It needs every training picture's localities, N·G·E numbers for each member; they are computed once, and again after
    a restart, or where members leave or join.
    """

    def __init__(
        self, network: LocalityNetwork, config: ERPCNetConfig, task: Task, seed: int, workers: Workers
    ) -> None:
        self.network = network.eval().requires_grad_(False)
        self.config, self.task, self.seed, self.workers = config, task, seed, workers
        self.text = task.semantics[: len(task.seen)].to(workers.device)
        self.localities: Localities | None = None
        self.finite = True  # whether all that rewards are made of is

    def train_epoch(self, policy: dict[str, Tensor], epoch: int) -> tuple[dict[str, Tensor], dict[str, float]]:
        """A policy after an epoch more, from a fresh one where it is empty; and returns, steps and accuracy with it."""
        from methods.environments.locality_ppo import LocalityPPOOptions, improved  # Ray stands behind it

        config, workers, network = self.config, self.workers, self.network
        draw = generator(self.seed, "policy", epoch)
        policy = policy or first_weights(network.width, network.cells, draw)
        seed = int(torch.randint(1 << 30, (), generator=draw))
        policy = {name: t.to(workers.device) for name, t in policy.items()}
        names, values = ("policy_return", "random_return", "policy_steps", "random_steps", "accuracy"), [math.nan] * 5
        if workers.rank == 0:  # the others take what it finds
            with torch.no_grad():
                localities = self.everywhere()
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
                    values = [*(found[name] for name in names[:-1]), self.accuracy(policy, localities)]
        told = [torch.tensor(values, dtype=torch.float64), *(t.clone() for t in policy.values())]
        if workers.world_size > 1:
            sent = [t.to(workers.device) for t in told]
            told = workers.average([t * workers.world_size if workers.rank == 0 else torch.zeros_like(t) for t in sent])
        return dict(zip(policy, told[1:], strict=True)), dict(zip(names, told[0].tolist(), strict=True))

    def everywhere(self) -> "Localities":
        """ē_g and every cell's ē_l and β of all training pictures, computed once."""
        from methods.environments.localities import Localities

        if self.localities is not None:
            return self.localities
        network, labels = self.network, self.task.labels.to(self.workers.device)
        count, cells, width = len(labels), network.cells, network.width
        # places first: of a whole data set they are gigabytes, of which there is room for one copy
        places, whole, ratios = (self.text.new_empty(count, *size) for size in ((cells, width), (width,), (cells,)))
        batches = torch.arange(count).split(_EMBEDDED_AT_ONCE)
        for rows, stored in zip(batches, in_batches(self.task.features, batches), strict=True):
            pictures = centred(stored, self.config.side)
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

    def accuracy(self, policy: dict[str, Tensor], localities: "Localities") -> float:
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


def _believed(fc_j1: nn.Linear, fc_j2: nn.Linear, text: Tensor, sequence: Tensor) -> Tensor:
    """(n, S) probabilities of fc_j, no dropout in it. text: (S, A); sequence: (n, (T + 1)·E), filled with zeros."""
    with torch.no_grad():
        return (fc_j2(fc_j1(sequence.to(text))) @ text.T).softmax(dim=1)
