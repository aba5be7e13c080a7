"""CLASTER: clustering with reinforcement learning for action recognition (Gowda et al., ECCV 2022).

A sample is represented by its features, an estimate of its class's semantics, and the centroids of a few clusters,
weighted by their nearness; a network reads the seen class from that. Whether it reads it rightly is the reward by which
the nearest centroid moves. Written as a population, as SA-DVAE is.

No code was released. Where the paper is silent or says two things, this is our choice, and why:

- The semantic-to-visual MLP, a', is fitted first and then left alone: the centroids lie in its space. Its target is a
  sample's features, so its least squares depend on the class means and counts alone, and are fitted on those.
- The visual-to-semantic MLP estimates a'(y) (Section 3.3, "we estimate the semantic vector": least squares, as for its
  opposite), and the classification loss reaches it too: `semantic_weight` weighs the first against the second.
- The output of V has the semantics' width, as the product of Eq. 2 needs it; Section 4 says the number of seen classes.
- V's two convolutional layers run along the vector, kernel 3, since a vector has no other neighbourhood; the second
  gives one channel. Their widths are not said. `channels=0` leaves them out.
- An iteration is one batch: the networks take a step of Adam, then the centroids one of Eq. 5, together from the start.
  A centroid takes the mean over the points that it is the nearest of.
- The rectification (Eq. 6) is done with the projected semantics a' of the seen classes (Section 4 first names V's
  penultimate layer, then the projecting MLP); k is not said, `neighbours`.
- What the search for the nearest neighbour starts from: "we predict a seen class and compute or retrieve its semantic
  representation". `inference` offers the retrieved one, predicted, a'(ŷ); computed ones: expected, the mean of a' by
  the seen probabilities, and estimated, the sample's own φ; and softmax, Eq. 2 with the unseen classes' semantics.
- `policy=rllib` is ours: PPO learns on `environments.centroids`, before each epoch with the networks as they are then,
  which centroid a point had better move; the paper's is always the nearest.
- The paper's bias detector is a gate of the platform's, fitted on pseudo-unseen classes: combination=soft or hard.
  Calibrated stacking is the default: over 20 class splits its H was 35.0, the soft gate's 30.5 (benchmarks.choosing).
- The semantics have length 1, which the platform's class text sees to; features as the data folder's card says.

Data-parallel workers average the centroids' moves as they do gradients.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import log_softmax, normalize, one_hot, pad

from methods.clustering import distances, first_centroids, netvlad, observed, preferences, reinforcement, represented
from methods.compatibility import CompatibilityConfig, CompatibilityModel, CompatibilityPopulation, check_members
from platform.errors import InputError
from platform.method import Member, Method, Population
from platform.population.adam import PopulationAdam
from platform.population.draws import generator
from platform.population.layers import Layout, stacked_product, uniform
from platform.workers import Workers
from platform.zeroshot.metrics import purity
from platform.zeroshot.task import Task

_RETURNS = ("policy_return", "nearest_return", "random_return")
_BLOCK = 1024  # samples that are scored at a time
# Points that the centroids start from, at most: twenty thousand tell where a few clusters lie as well as all do, and
# k-means holds three copies of its points, which of 100,000 with 16,384 dimensions would be 20 GB.
_FIRST_POINTS = 20_000
_STRETCH, _LEAST_GAIN = 100, 0.002  # of the semantic-to-visual MLP's fit
_PURITY_SAMPLES = 2048  # of the training samples, at most, after each epoch


class CLASTERConfig(CompatibilityConfig):
    """Hyperparameters of CLASTER; the defaults are the paper's."""

    clusters: int = Field(6, ge=1, description="k, number of centroids (Section 4; Fig. 8)")
    clustering: Literal["reinforce", "kmeans", "random", "sgd", "netvlad", "none"] = Field(
        "reinforce", description="what becomes of the centroids: CLASTER, or the other rows of Table 1"
    )
    visual_semantic: bool = Field(True, description="estimate semantics and cluster them too; else `w/o SE` (Table 1)")
    aggregation: Literal["concatenation", "average", "dot", "weighted"] = Field(
        "concatenation", description="how features and semantics make a point (Table 7)"
    )
    hidden: int = Field(8192, ge=1, description="width of every MLP's hidden layer (Section 4)")
    channels: int = Field(8, ge=0, description="of the first of V's two convolutional layers; 0: none (not said)")
    semantic_weight: float = Field(1.0, ge=0, description="of the least squares of the estimated semantics (not said)")
    policy: Literal["reinforce", "rllib"] = Field(
        "reinforce", description="which centroid a point moves: its nearest (Eq. 5), or the choice of RLlib's PPO"
    )
    policy_iterations: int = Field(2, ge=1, description="of PPO, before each epoch; policy=rllib (ours)")
    policy_horizon: int = Field(32, ge=1, description="points of an episode of its environment (ours)")
    policy_alpha: float = Field(
        1.0, gt=0, description="step of its environment: large, so that an episode shows what many iterations do (ours)"
    )
    policy_learning_rate: float = Field(1e-3, gt=0, description="of PPO's Adam (ours)")
    policy_hidden: int = Field(64, ge=1, description="width of the policy's two hidden layers (ours)")
    alpha: float = Field(0.1, ge=0, description="step of the centroids at first (Section 4)")
    alpha_steps: int = Field(1000, ge=1, description="iterations after which it is a tenth, and then again (Section 4)")
    learning_rate: float = Field(1e-4, gt=0, description="of Adam (Section 4)")
    weight_decay: float = Field(5e-4, ge=0, description="λ of Eq. 3, inside Adam (Section 4)")
    projection_steps: int = Field(
        5000,
        ge=1,
        description="Adam steps of the semantic-to-visual MLP, at most: it ends once its loss stays (not said)",
    )
    inference: Literal["predicted", "expected", "estimated", "softmax"] = Field(
        "predicted", description="what the nearest unseen class is sought from (Section 4; see the module)"
    )
    neighbours: int = Field(3, ge=0, description="k of the rectification; 0: none (Eq. 6; not said)")
    nearest_temperature: float = Field(0.1, gt=0, description="of the softmax over cosine similarities (not said)")
    train_share: float = Field(1.0, gt=0, le=1, description="of each seen class's samples to train on (Fig. 7: 0.35)")
    seen_classifier: Literal["compatibility", "features", "logits"] = Field(
        "compatibility", description="seen scores: Eq. 2, or another classifier (a softmax layer, given logits)"
    )
    combination: Literal["stacking", "hard", "soft", "joint"] = Field(
        "stacking",
        description="calibrated stacking (ours: see the module), a gate as the paper's bias detector, hard or soft, or "
        "joint: the largest score of all classes",
    )
    batch_size: int = Field(64, ge=1, description="samples an iteration (not said)")
    iterations: int = Field(100, ge=1, description="steps of an epoch; 10,000 in all (Section 4)")
    epochs: int = Field(100, ge=1, description="of so many iterations (Section 4: 10,000 iterations)")


class _Network:
    """The network of one member or of a stacked population: one code for both.

    weights: name to (…, rows, columns), `NAME_bias` to (…, 1, columns), where … is nothing or the members.
    """

    def __init__(self, config: CLASTERConfig, weights: Mapping[str, Tensor], exists: Tensor | None = None) -> None:
        self.config, self.weights, self.exists = config, weights, exists

    def layer(self, name: str, x: Tensor) -> Tensor:
        return stacked_product(x, self.weights[name]) + self.weights[f"{name}_bias"]

    def projected(self, semantics: Tensor) -> Tensor:
        """a', (…, C, D): class semantics in the features' space. semantics: (…, C, T)."""
        return self.layer("project_2", self.layer("project_1", semantics).relu())

    def estimated(self, x: Tensor) -> Tensor:
        """φ, (…, N, D): what a sample's projected semantics should be. x: (…, N, D)."""
        return self.layer("estimate_2", self.layer("estimate_1", x).relu())

    def joined(self, x: Tensor, semantic: Tensor | None) -> Tensor:
        """ψ, (…, N, W) of features and (estimated or true) projected semantics, each (…, N, D)."""
        if semantic is None:
            return x
        if self.config.aggregation == "average":
            return (x + semantic) / 2
        if self.config.aggregation == "dot":
            return x * semantic
        if self.config.aggregation == "weighted":
            share = self.weights["share"].sigmoid()
            return share * x + (1 - share) * semantic
        return torch.cat([x, semantic], dim=-1)

    def points(self, x: Tensor) -> Tensor:
        """ψ of samples (…, N, D)."""
        return self.joined(x, self.estimated(x) if self.config.visual_semantic else None)

    def omega(self, points: Tensor, centroids: str = "centroids") -> tuple[Tensor, Tensor | None]:
        """ω, and d (…, N, K) where there are centroids. points: (…, N, W)."""
        if self.config.clustering == "none":
            return points, None
        places = self.weights[centroids]
        d = distances(points, places, self.exists)
        if self.config.clustering != "netvlad":
            return represented(points, places, d, stacked_product), d
        logits = self.layer("assign", points)
        if self.exists is not None:
            logits = logits.masked_fill(~self.exists[..., None, :], -torch.inf)
        return netvlad(points, places, logits.softmax(dim=-1)), d

    def classified(self, omega: Tensor) -> Tensor:
        """V(ω), (…, N, T). omega: (…, N, W)."""
        if self.config.channels:
            omega = self._convolved("conv_2", self._convolved("conv_1", omega[..., None]).relu())[..., 0]
        return self.layer("classify_2", self.layer("classify_1", omega).relu())

    def choices(self, points: Tensor, d: Tensor, belief: Tensor, scales: Tensor) -> Tensor:
        """(…, N) centroids that the trained policy chooses. Shapes as for `observed`; d: (…, N, K)."""
        preferred = preferences(self.weights, observed(points, d.nan_to_num(posinf=0.0), belief, scales))
        if self.exists is not None:
            preferred = preferred.masked_fill(~self.exists[..., None, :], -torch.inf)
        return preferred.argmax(dim=-1)

    def _convolved(self, name: str, x: Tensor) -> Tensor:
        """Kernel 3 along the vector, zeros beyond its ends. x: (…, N, W, channels); gives (…, N, W, others)."""
        padded = pad(x, (0, 0, 1, 1))
        taps = torch.cat([padded[..., :-2, :], x, padded[..., 2:, :]], dim=-1)
        found = self.layer(name, taps.flatten(-3, -2)).unflatten(-2, x.shape[-3:-1])
        if self.config.clustering == "netvlad" and self.exists is not None:  # ω ends with a member's own centroids
            own = self.exists.repeat_interleave(x.shape[-2] // self.exists.shape[-1], dim=-1)  # (…, W)
            found = found * own[..., None, :, None]
        return found


@dataclass(frozen=True)
class CLASTERModel(CompatibilityModel):
    """A trained CLASTER of one member. A class's place is its semantics; seen scores are those of Eq. 2."""

    Config = CLASTERConfig

    def class_places(self, semantics: Tensor) -> Tensor:
        return semantics

    def products(self, x: Tensor, places: Tensor) -> Tensor:
        # by blocks: the convolutions make many numbers of each sample
        return torch.cat([self._network.classified(self._omega(rows)) @ places.T for rows in x.split(_BLOCK)])

    def unseen_scores(self, x: Tensor) -> Tensor:
        if self.config.inference == "softmax":
            return super().unseen_scores(x)
        near = normalize(self._query(x), dim=1) @ normalize(self.rectified(), dim=1).T
        return log_softmax(near / self.config.nearest_temperature, dim=1)

    def rectified(self) -> Tensor:
        """â, (U, D): the unseen classes' projected semantics, moved towards the nearest of the seen ones (Eq. 6)."""
        unseen, seen = (self._network.projected(s) for s in (self.semantics, self.kept["seen_classes"]))
        count = min(self.config.neighbours, len(seen))
        if not count:
            return unseen
        near = (normalize(unseen, dim=1) @ normalize(seen, dim=1).T).topk(count, dim=1)  # (U, k)
        return unseen + (near.values[..., None] * seen[near.indices]).mean(dim=1)

    def latents(self, x: Tensor) -> dict[str, Tensor]:
        """ω with the centroids as k-means left them, and as they became (Fig. 4)."""
        if self.config.clustering not in ("reinforce", "sgd"):
            return {"representation": self._omega(x)}
        return {"before": self._omega(x, "start"), "after": self._omega(x)}

    def clusters(self, x: Tensor) -> dict[str, Tensor]:
        points = self._network.points(x)
        names = {"before": "start", "after": "centroids"} if self.config.clustering != "none" else {}
        return {name: distances(points, self.weights[key]).argmin(dim=1) for name, key in names.items()}

    def _query(self, x: Tensor) -> Tensor:
        """(N, D) what the nearest neighbour is sought from, in the projected semantics' space. x: (N, D)."""
        if self.config.inference == "estimated":
            return self._network.estimated(x)
        places = self.kept["seen_classes"]
        seen, scores = self._network.projected(places), self.products(x, places)
        return seen[scores.argmax(dim=1)] if self.config.inference == "predicted" else scores.softmax(dim=1) @ seen

    def _omega(self, x: Tensor, centroids: str = "centroids") -> Tensor:
        return self._network.omega(self._network.points(x), centroids)[0]

    @property
    def _network(self) -> _Network:
        return _Network(self.config, self.weights)


class CLASTER(Method):
    """The method; see the module."""

    Config = CLASTERConfig
    Model = CLASTERModel
    data_parallel = "equal"
    pack_by = ("batch_size", "clustering", "visual_semantic", "aggregation", "channels", "policy")
    citation = """@inproceedings{gowda2022claster,
  title = {CLASTER: Clustering with Reinforcement Learning for Zero-Shot Action Recognition},
  author = {Gowda, Shreyank N and Sevilla-Lara, Laura and Keller, Frank and Rohrbach, Marcus},
  booktitle = {European Conference on Computer Vision (ECCV)},
  year = {2022}
}"""
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "images": {"clusters": 9},  # Section 9: where CUB's accuracy levels off
        "small": {  # features of a few hundred dimensions, of some hundred to thousands of samples (ours)
            "hidden": 512,
            "channels": 4,
            "learning_rate": 2e-3,
            "semantic_weight": 4.0,
            "inference": "expected",
            "iterations": 50,
            "alpha_steps": 60,
            "epochs": 12,
        },
    }

    def steps(self, config: CLASTERConfig, samples: int) -> int:
        return config.epochs * config.iterations

    def population(self, members: Sequence[Member], workers: Workers) -> Population:
        """Members that train side by side. They share `pack_by`; task, seed and every other field may differ.

        Raises InputError where there are fewer samples than clusters, fields contradict each other (as policy=rllib
        and clusters that nothing moves), given logits are wanted and there are none.
        """
        check_members(members)
        members = [replace(m, task=_thinned(m.task, m.config.train_share, m.seed)) for m in members]
        for member in members:
            config, count = member.config, len(member.task.labels)
            if config.clustering != "none" and count < config.clusters:
                raise InputError(f"clusters={config.clusters}: more than the {count} training samples")
            if config.policy == "rllib" and config.clustering != "reinforce":
                raise InputError(f"policy=rllib: clustering={config.clustering} moves no centroid; use reinforce")
            if config.inference == "estimated" and not config.visual_semantic:
                raise InputError("inference=estimated: visual_semantic=false estimates no semantics; use predicted")
        return _Population(members, workers)


method = CLASTER()


class _Population(CompatibilityPopulation):
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
        network = _Network(self.shape, self.layers.parameters)
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
        weights |= _fitted_projection(member, weights, self.device)
        if self.shape.clustering != "none":
            kind = "random" if self.shape.clustering == "random" else "kmeans"
            points = self._first_points(member, weights)
            weights["start"] = first_centroids(kind, points, member.config.clusters, member.seed)
            weights["centroids"] = weights["start"].clone()
        return weights

    def _first_points(self, member: Member, weights: Mapping[str, Tensor]) -> Tensor:
        """ψ, with the true class's semantics, of the samples that the centroids start from."""
        network, task = _Network(self.shape, weights), member.task
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
            network = _Network(self.shape, {**self.layers.parameters, **leaves}, self.exists)
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
            network, text = _Network(config, weights), task.semantics[: len(task.seen)]
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
        points, found = _Network(self.configs[member], weights).points(features), {}
        for when, name in (("before", "start"), ("after", "centroids")):
            chosen = distances(points, weights[name]).nan_to_num(torch.inf).argmin(dim=1)
            found[f"purity_{when}"], found[f"class_purity_{when}"] = purity(chosen, labels)
        return found


def _fitted_projection(member: Member, weights: Mapping[str, Tensor], device: torch.device) -> dict[str, Tensor]:
    """The semantic-to-visual MLP, fitted by least squares to the seen classes' mean features, each as it occurs.

    It ends once `_STRETCH` steps take less than `_LEAST_GAIN` of it from the loss. How many that needs goes with the
    features' scale, and where they are small beside the weight decay, the loss comes to rise again.
    """
    task, config = member.task, member.config
    classes = len(task.seen)
    share = torch.bincount(task.labels, minlength=classes).float()
    means = torch.zeros(classes, task.features.shape[1]).index_add_(0, task.labels, task.features)
    means = (means / share.clamp_min(1)[:, None]).to(device)
    share = (share / share.sum())[:, None].to(device)
    semantics = task.semantics[:classes].to(device)
    names = ("project_1", "project_1_bias", "project_2", "project_2_bias")
    with torch.enable_grad():
        own = {name: weights[name].to(device).requires_grad_() for name in names}
        network = _Network(config, own)
        optimiser = torch.optim.Adam(
            own.values(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=device.type == "cpu"
        )
        before = math.inf
        for step in range(config.projection_steps):
            loss = (share * (network.projected(semantics) - means).square()).sum() / means.shape[1]
            if step % _STRETCH == 0:
                now = loss.item()
                if not now < (1 - _LEAST_GAIN) * before:
                    break
                before = now
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return {name: tensor.detach().cpu() for name, tensor in own.items()}


def _thinned(task: Task, share: float, seed: int) -> Task:
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
