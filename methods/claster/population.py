"""CLASTER in training: an iteration of its members' networks and centroids (Eq. 2, 3 and 5)."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import log_softmax, one_hot

from methods.claster.clustering import distances, first_centroids, reinforcement
from methods.claster.config import CLASTERConfig
from methods.claster.model import CLASTERModel
from methods.claster.network import CLASTERNetwork
from methods.claster.projection import fitted_projection
from methods.compatibility import CompatibilityPopulation
from platform.method import Member
from platform.population.adam import PopulationAdam
from platform.population.draws import generator
from platform.population.layers import Layout, stacked_product, uniform
from platform.workers import Workers
from platform.zeroshot.metrics import purity
from platform.zeroshot.task import Task

_RETURNS = ("policy_return", "nearest_return", "random_return")
# Points that the centroids start from, at most: twenty thousand tell where a few clusters lie as well as all do, and
# k-means holds three copies of its points, which of 100,000 with 16,384 dimensions would be 20 GB.
_FIRST_POINTS = 20_000
_PURITY_SAMPLES = 2048  # of the training samples, at most, after each epoch


class CLASTERPopulation(CompatibilityPopulation):
    """CLASTER's members; see `platform.learning.stacked`. Slopes are autograd's."""

    losses = ("classification", "semantic", "reward")
    Model = CLASTERModel

    def __init__(self, members: Sequence[Member], workers: Workers) -> None:
        self.shape: CLASTERConfig = members[0].config  # for the fields of `pack_by`
        self.most_clusters = max(m.config.clusters for m in members)
        self.layout = self._layout()
        self.device = workers.device
        super().__init__(members, workers)
        self.scales = torch.ones(len(members), 1, 2, device=self.device)  # of the policy's observations
        counts = torch.tensor([c.clusters for c in self.configs], device=self.device)
        self.exists = torch.arange(self.most_clusters, device=self.device) < counts[:, None]  # (members, K)
        self.semantic_weight, self.weight_decay, self.alpha, self.alpha_steps = (
            self.numbers(name) for name in ("semantic_weight", "weight_decay", "alpha", "alpha_steps")
        )
        network = CLASTERNetwork(self.shape, self.layers.parameters)
        self.projected = network.projected(self.text)  # (members, S, D), which training leaves alone
        self.watched = [self._watched(m) for m in range(len(members))]

    def _layout(self) -> Layout:
        config = self.shape
        both = config.visual_semantic and config.aggregation == "concatenation"
        points = ("features", "features") if both else ("features",)
        omega = points
        if config.clustering == "netvlad":
            omega = tuple(f"features_{j}" for j in range(self.most_clusters) for _ in points)
        layout = {"project_1": (("text",), ("hidden",)), "project_2": (("hidden",), ("features",))}
        if config.visual_semantic:
            layout |= {"estimate_1": (("features",), ("hidden",)), "estimate_2": (("hidden",), ("features",))}
        if config.channels:
            layout |= {"conv_1": (("one",) * 3, ("channels",)), "conv_2": (("channels",) * 3, ("one",))}
        layout |= {"classify_1": (omega, ("hidden",)), "classify_2": (("hidden",), ("text",))}
        if config.visual_semantic and config.aggregation == "weighted":
            layout["share"] = (("one",), ("one",))
        if config.clustering == "netvlad":
            layout["assign"] = (points, ("clusters",))
        if config.clustering != "none":
            layout |= dict.fromkeys(("centroids", "start"), (("clusters",), points))
        if config.policy == "rllib":
            sizes = ((*points, "clusters", "classes"), ("policy",), ("policy",))
            for kind, given in (("policy", ("clusters",)), ("value", ("one",))):
                for number, (rows, columns) in enumerate(zip(sizes, (*sizes[1:], given), strict=True), 1):
                    layout[f"{kind}_{number}"] = (rows, columns)
        return layout

    def widths_of(self, member: Member) -> dict[str, int]:
        config, width = member.config, member.task.features.shape[1]
        own = {"hidden": config.hidden, "channels": config.channels, "clusters": config.clusters, "one": 1}
        own |= {"policy": config.policy_hidden, "classes": len(member.task.seen)}
        residuals = {f"features_{j}": width if j < config.clusters else 0 for j in range(self.most_clusters)}
        return {"features": width, "text": member.task.semantics.shape[1], **own, **residuals}

    def initial_weights(self, member: Member) -> dict[str, Tensor]:
        """The networks at their start, but for the projection, which is fitted here, and the first centroids."""
        widths, draw = self.widths_of(member), generator(member.seed, "weights")
        weights = {}
        for name, parts in self.layout.items():
            rows, columns = (sum(widths[part] for part in several) for several in parts)
            if name == "share":
                weights[name] = torch.zeros(1, 1)  # both parts count for a half
            elif name not in ("centroids", "start"):
                weights[name] = uniform(rows, rows, columns, draw)
                weights[f"{name}_bias"] = uniform(rows, 1, columns, draw)
                if name.startswith("conv_"):  # else ω may be too small to open a ReLU anywhere, and nothing learns
                    weights[f"{name}_bias"].zero_()
        weights |= fitted_projection(member, weights, self.device)
        if self.shape.clustering != "none":
            kind = "random" if self.shape.clustering == "random" else "kmeans"
            points = self._first_points(member, weights)
            weights["start"] = first_centroids(kind, points, member.config.clusters, member.seed)
            weights["centroids"] = weights["start"].clone()
        return weights

    def _first_points(self, member: Member, weights: Mapping[str, Tensor]) -> Tensor:
        """ψ, with the true class's semantics, of the samples that the centroids start from."""
        network, task = CLASTERNetwork(self.shape, weights), member.task
        x, labels, most = task.features, task.labels, max(_FIRST_POINTS, member.config.clusters)
        if len(labels) > most:
            rows = torch.randperm(len(labels), generator=generator(member.seed, "first points"))[:most]
            x, labels = x[rows], labels[rows]
        semantic = None
        if self.shape.visual_semantic:
            semantic = network.projected(task.semantics[: len(task.seen)])[labels]
        return network.joined(x, semantic)

    def make_optimisers(self) -> Sequence[PopulationAdam]:
        others = ("project_", "start", "policy_", "value_")  # fitted, kept or learned elsewhere
        own = {n: p for n, p in self.layers.parameters.items() if not n.startswith(others)}
        if self.shape.clustering != "netvlad":
            own.pop("centroids", None)
        self.optimiser = PopulationAdam(own, [c.learning_rate for c in self.configs])
        return [self.optimiser]

    def steps_of_epoch(self) -> list[int]:
        return [c.iterations for c in self.configs]

    def next_epoch(self) -> list[dict[str, float]]:
        returns = self._train_policies()
        found = super().next_epoch()
        for m, losses in enumerate(found):
            losses["accuracy"] = (1 + losses["reward"]) / 2
            losses |= self._purities(m) | returns[m]
        return found

    def differentiate(self, x: Tensor, labels: Tensor, rows: Tensor) -> Tensor:
        moved = self.shape.clustering
        names = [
            n for n in self.layers.parameters if n in self.optimiser.parameters or (n, moved) == ("centroids", "sgd")
        ]
        with torch.enable_grad():
            leaves = {name: self.layers.parameters[name].detach().requires_grad_() for name in names}
            network = CLASTERNetwork(self.shape, {**self.layers.parameters, **leaves}, self.exists)
            semantic = network.estimated(x) if self.shape.visual_semantic else None
            points = network.joined(x, semantic)
            omega, d = network.omega(points)
            scores = stacked_product(network.classified(omega), self.text.mT)
            scores = scores.masked_fill(~self.is_class[:, None], -torch.inf)
            own = log_softmax(scores, dim=2).gather(2, labels[..., None])[..., 0]  # (members, batch)
            classification, fit = -own.mean(dim=1), torch.zeros_like(self.alpha)
            if semantic is not None:
                true = stacked_product(one_hot(labels, self.text.shape[1]).to(x.dtype), self.projected)
                fit = (semantic - true).square().mean((1, 2))
            slopes = torch.autograd.grad(
                (classification + self.semantic_weight * fit).sum(), [leaves[name] for name in names]
            )
        for name, slope in zip(names, slopes, strict=True):
            self.layers.gradients[name].copy_(slope)
            if name in self.optimiser.parameters:
                self.layers.gradients[name].addcmul_(self.layers.parameters[name], self.weight_decay[:, None, None])
        reward = torch.where(scores.argmax(dim=2) == labels, 1.0, -1.0)
        if moved == "reinforce":
            d, centroids = d.detach(), self.layers.parameters["centroids"]
            chosen = d.argmin(dim=2)
            if self.shape.policy == "rllib":
                chosen = network.choices(points.detach(), d, scores.detach().softmax(dim=2), self.scales)
            score = own.detach().exp()
            direction = reinforcement(
                points.detach(), centroids, chosen, d, reward, score, self.workers.average, stacked_product
            )
            self.layers.gradients["centroids"].copy_(-direction)
        return torch.stack([classification, fit, reward.mean(dim=1)]).detach()

    def _take_step(self, everyone: bool, rows: Tensor, active: Tensor) -> Tensor:
        losses = super()._take_step(everyone, rows, active)
        if self.shape.clustering in ("reinforce", "sgd"):
            alpha = self._alpha(self.optimiser.steps[0] - 1)
            (direction,) = self.workers.average([self.layers.gradients["centroids"]])
            self.layers.parameters["centroids"].sub_((alpha * active)[:, None, None] * direction)
        return losses

    def _train_policies(self) -> list[dict[str, float]]:
        """Each member's policy before an epoch, and its returns; the scales of what it observes are kept."""
        if self.shape.policy != "rllib":
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
        if self.shape.clustering == "none":
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
