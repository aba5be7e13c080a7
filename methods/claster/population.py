"""CLASTER in training: an iteration of its members' networks and centroids (Eq. 2, 3 and 5)."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from methods.claster.clustering import distances, first_centroids, reinforcement
from methods.claster.network import CLASTERNetwork, Encoded
from methods.claster.projection import fitted_projection
from platform.learning.batch import Batch
from platform.learning.stated import StatedMethod, StatedPopulation
from platform.method import Member
from platform.population.adam import PopulationAdam
from platform.population.draws import generator
from platform.population.layers import Layout, stacked_product
from platform.workers import Workers
from platform.zeroshot.metrics import purity
from platform.zeroshot.task import Task

_RETURNS = ("policy_return", "nearest_return", "random_return")
# Points that the centroids start from, at most: twenty thousand tell where a few clusters lie as well as all do, and
# k-means holds three copies of its points, which of 100,000 with 16,384 dimensions would be 20 GB.
_FIRST_POINTS = 20_000
_PURITY_SAMPLES = 2048  # of the training samples, at most, after each epoch


class CLASTERPopulation(StatedPopulation):
    """CLASTER's members: beside the stated losses, their centroids, and the policies that choose these."""

    def __init__(self, method: StatedMethod, members: Sequence[Member], workers: Workers) -> None:
        self.most_clusters = max(m.config.clusters for m in members)
        self.device = workers.device
        super().__init__(method, members, workers)
        self.scales = torch.ones(len(members), 1, 2, device=self.device)  # of the policy's observations
        self.alpha, self.alpha_steps = (self.fields.number(name) for name in ("alpha", "alpha_steps"))
        self.watched = [self._watched(m) for m in range(len(members))]

    def make_layout(self) -> Layout:
        return self.method.layers(self.config.model_copy(update={"clusters": self.most_clusters}))

    def widths_of(self, member: Member) -> dict[str, int]:
        beyond = {f"features_{j}": 0 for j in range(member.config.clusters, self.most_clusters)}
        return super().widths_of(member) | beyond

    def initial_weights(self, member: Member) -> dict[str, Tensor]:
        """The networks at their start, but for the projection, which is fitted here, and the first centroids."""
        weights = super().initial_weights(member)
        weights |= fitted_projection(member, weights, self.device)
        if self.config.clustering != "none":
            kind = "random" if self.config.clustering == "random" else "kmeans"
            points = self._first_points(member, weights)
            weights["start"] = first_centroids(kind, points, member.config.clusters, member.seed)
            weights["centroids"] = weights["start"].clone()
        return weights

    def _first_points(self, member: Member, weights: Mapping[str, Tensor]) -> Tensor:
        """ψ, with the true class's semantics, of the samples that the centroids start from."""
        network, task = CLASTERNetwork(self.config, weights), member.task
        x, labels, most = task.features, task.labels, max(_FIRST_POINTS, member.config.clusters)
        if len(labels) > most:
            rows = torch.randperm(len(labels), generator=generator(member.seed, "first points"))[:most]
            x, labels = x[rows], labels[rows]
        semantic = None
        if self.config.visual_semantic:
            semantic = network.projected(task.semantics[: len(task.seen)])[labels]
        return network.joined(x, semantic)

    def make_optimisers(self) -> Sequence[PopulationAdam]:
        others = ("project_", "start", "policy_", "value_")  # fitted, kept or learned elsewhere
        own = {n: p for n, p in self.layers.parameters.items() if not n.startswith(others)}
        if self.config.clustering != "netvlad":
            own.pop("centroids", None)
        self.optimiser, self.adversary = PopulationAdam(own, self._rates([0] * len(self.members))), None
        return [self.optimiser]

    def trained_layers(self) -> list[str]:
        return [*self.optimiser.parameters, *(["centroids"] if self.config.clustering == "sgd" else [])]

    def next_epoch(self) -> list[dict[str, float]]:
        returns = self._train_policies()
        found = super().next_epoch()
        for m, losses in enumerate(found):
            losses["accuracy"] = (1 + losses["reward"]) / 2
            losses |= self._purities(m) | returns[m]
        return found

    def differentiate(self, batch: Batch, encoded: Encoded, weights: Tensor) -> Tensor:
        """The stated losses' gradients, and where the rewards move the centroids (Eq. 5)."""
        terms = super().differentiate(batch, encoded, weights)
        if self.config.clustering == "reinforce":
            points, d, scores = encoded.points.detach(), encoded.d.detach(), encoded.scores.detach()
            chosen = d.argmin(dim=2)
            if self.config.policy == "rllib":
                chosen = encoded.network.choices(points, d, scores.softmax(dim=2), self.scales)
            direction = reinforcement(
                points,
                self.layers.parameters["centroids"],
                chosen,
                d,
                encoded.reward,
                scores.log_softmax(dim=2).gather(2, batch.labels[..., None])[..., 0].exp(),
                self.workers.average,
                stacked_product,
            )
            self.layers.gradients["centroids"].copy_(-direction)
        return terms

    def _take_step(self, kind: Any, rows: Tensor, weights: Tensor, active: Tensor, *rest: Tensor) -> Tensor:
        losses = super()._take_step(kind, rows, weights, active, *rest)
        if self.config.clustering in ("reinforce", "sgd"):
            alpha = self._alpha(self.optimiser.steps[0] - 1)
            (gradient,) = self.workers.average([self.layers.gradients["centroids"]])
            self.layers.parameters["centroids"].sub_((alpha * active)[:, None, None] * gradient)
        return losses

    def _train_policies(self) -> list[dict[str, float]]:
        """Each member's policy before an epoch, and its returns; the scales of what it observes are kept."""
        if self.config.policy != "rllib":
            return [{} for _ in self.members]
        from methods.environments.centroids import Clustering  # here: Gymnasium, and Ray, stand behind them
        from methods.environments.ppo import PPOOptions, improved

        policies, returns, scales = [], [], []
        alive = self.alive.tolist()
        for m, (config, member) in enumerate(zip(self.configs, self.members, strict=True)):
            weights, task = self.layers.own(m, self.layers.parameters), self.data.tasks[m]
            learned = {name: tensor for name, tensor in weights.items() if name.startswith(("policy_", "value_"))}
            found, scale = dict.fromkeys(_RETURNS, math.nan), torch.ones(2, device=self.device)
            network, text = CLASTERNetwork(config, weights), task.semantics[: len(task.seen)]
            points = network.points(task.features)
            if alive[m] and bool(points.isfinite().all()):
                clustering = Clustering(
                    points,
                    task.labels,
                    weights["centroids"],
                    lambda omega, network=network, text=text: (network.classified(omega) @ text.T).softmax(dim=-1),
                )
                options = PPOOptions(
                    config.policy_iterations, config.policy_horizon, config.policy_learning_rate, config.policy_hidden
                )
                seed = int(torch.randint(1 << 30, (), generator=generator(member.seed, "policy", self.epochs[m])))
                learned, found = improved(learned, clustering, config.policy_alpha, options, seed)
                scale = clustering.scales()
            policies.append(learned)
            returns.append(found)
            scales.append(scale)
        for name, stacked in self.layers.stacked(policies).items():
            self.layers.parameters[name].copy_(stacked)
        self.scales.copy_(torch.stack(scales)[:, None])
        return returns

    def _alpha(self, done: Tensor) -> Tensor:
        """(members,) the centroids' step after so many iterations (Section 4). done: (members,)."""
        return self.alpha * 0.1 ** (done / self.alpha_steps).floor().clamp(0, 2)

    def _watched(self, member: int) -> tuple[Tensor, Tensor]:
        """Features and labels of some training samples, on which purity is told after each epoch."""
        task, seed = self.data.tasks[member], self.members[member].seed
        rows = torch.randperm(len(task.labels), generator=generator(seed, "purity"))[:_PURITY_SAMPLES].to(self.device)
        return task.features[rows], task.labels[rows]

    def _purities(self, member: int) -> dict[str, float]:
        """Of the clusters as they started and as they are (Eq. 7), and of the classes; see `purity`."""
        if self.config.clustering == "none":
            return {}
        wanted = ("estimate_", "share", "centroids", "start")
        weights = self.layers.own(
            member, {name: tensor for name, tensor in self.layers.parameters.items() if name.startswith(wanted)}
        )
        features, labels = self.watched[member]
        points, found = CLASTERNetwork(self.configs[member], weights).points(features), {}
        for when, name in (("before", "start"), ("after", "centroids")):
            chosen = distances(points, weights[name]).nan_to_num(torch.inf).argmin(dim=1)
            found[f"purity_{when}"], found[f"class_purity_{when}"] = purity(chosen, labels)
        return found


def thinned(task: Task, share: float, seed: int) -> Task:
    """The task with a share of each class's samples, at least one, drawn by the seed."""
    if share == 1:
        return task
    draw, kept = generator(seed, "train share"), []
    for label in range(len(task.seen)):
        rows = torch.nonzero(task.labels == label).flatten()
        kept.append(rows[torch.randperm(len(rows), generator=draw)[: max(1, round(share * len(rows)))]])
    rows = torch.cat(kept).sort().values
    logits = None if task.logits is None else task.logits[rows]
    return replace(
        task, features=task.features[rows], labels=task.labels[rows], logits=logits, groups=None, masked=None
    )
