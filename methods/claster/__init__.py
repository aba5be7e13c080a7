"""CLASTER: clustering with reinforcement learning for action recognition (Gowda et al., ECCV 2022).

A sample is represented by its features, an estimate of its class's semantics, and the centroids of a few clusters,
weighted by their nearness; a network reads the seen class from that. Whether it reads it rightly is the reward by which
the nearest centroid moves.

    config.py       every hyperparameter, with its place in the paper
    clustering.py   the centroids: ω (Eq. 1), what a reward moves (Eq. 5), how they start
    network.py      the MLPs: a', φ, ψ and V
    projection.py   the semantic-to-visual MLP, fitted before all else
    __init__.py     the losses (Eq. 3) and the reward (Eq. 4)
    population.py   what an iteration does beside them: the policy's choices, the centroids' step
    model.py        inference: rectification (Eq. 6), the nearest unseen class

No code was released. Where the paper is silent or says two things, this is our choice, and why:

- The semantic-to-visual MLP, a', is fitted first and then left alone: the centroids lie in its space. Its target is a
  sample's features, so its least squares depend on the class means and counts alone, and are fitted on those.
- The visual-to-semantic MLP estimates a'(y) by least squares, as the semantic-to-visual MLP is fitted (Section 3.3,
  "we estimate the semantic vector"), and the classification loss reaches it too: `semantic_weight` weighs both.
- Eq. 3's sum over samples is a mean over the batch, and its λ‖W‖ the weight decay of Section 4.
- The output of V has the semantics' width, as the product of Eq. 2 needs it; Section 4 says the number of seen classes.
- V's two convolutional layers run along the vector, kernel 3, since a vector has no other neighbourhood; the second
  gives one channel. Their widths are not said. `channels=0` leaves them out.
- An iteration is one batch: the networks take a step of Adam, then the centroids one of Eq. 5, from the first one on.
  A centroid takes the mean over the points that it is the nearest of.
- The rectification (Eq. 6) is done with the projected semantics a' of the seen classes (Section 4 first names V's
  penultimate layer, then the projecting MLP); k is not said, `neighbours`.
- What the search for the nearest neighbour starts from: "we predict a seen class and compute or retrieve its semantic
  representation". `inference` offers the retrieved one, predicted, a'(ŷ); computed ones: expected, the mean of a' by
  the seen probabilities, and estimated, the sample's own φ; and softmax, Eq. 2 with the unseen classes' semantics.
- `policy=rllib` is ours: PPO learns on `environments.centroids`, before each epoch with the networks as they are then,
  which centroid a point had better move; the paper's is always the nearest.
- The paper's bias detector is a gate of the platform's, fitted on pseudo-unseen classes: combination=soft or hard.
  Calibrated stacking is the default: over 20 splits of UTD-MHAD its H was 35.0, the soft gate's 30.5.
- The semantics have length 1, which the platform's class text sees to; features as the data folder's card says.

Data-parallel workers average the centroids' moves as they do gradients.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import log_softmax, one_hot

from methods.claster.config import CLASTERConfig
from methods.claster.model import CLASTERModel
from methods.claster.network import CLASTERNetwork, Encoded, projected
from methods.claster.population import CLASTERPopulation, thinned
from methods.compatibility import CompatibilityMethod
from platform.errors import InputError
from platform.learning.batch import Batch
from platform.learning.stated import Network
from platform.method import Member, Population
from platform.population.draws import generator
from platform.population.layers import Layout, stacked_product, uniform_start
from platform.workers import Workers
from platform.zeroshot.task import Task

__all__ = ["CLASTER", "CLASTERConfig", "CLASTERModel", "method"]


class CLASTER(CompatibilityMethod):
    """The method; see the module."""

    Config = CLASTERConfig
    Model = CLASTERModel
    stacked = CLASTERPopulation
    data_parallel = "equal"
    pack_by = ("batch_size", "clustering", "visual_semantic", "aggregation", "channels", "policy")
    loss_names = ("classification", "semantic", "reward")
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

    def steps_of_epoch(self, config: CLASTERConfig) -> int:
        return config.iterations

    def layers(self, config: CLASTERConfig) -> Layout:
        both = config.visual_semantic and config.aggregation == "concatenation"
        points = ("features", "features") if both else ("features",)
        omega = points
        if config.clustering == "netvlad":
            omega = tuple(f"features_{j}" for j in range(config.clusters) for _ in points)
        layers = {"project_1": (("text",), ("hidden",)), "project_2": (("hidden",), ("features",))}
        if config.visual_semantic:
            layers |= {"estimate_1": (("features",), ("hidden",)), "estimate_2": (("hidden",), ("features",))}
        if config.channels:
            layers |= {"conv_1": (("one",) * 3, ("channels",)), "conv_2": (("channels",) * 3, ("one",))}
        layers |= {"classify_1": (omega, ("hidden",)), "classify_2": (("hidden",), ("text",))}
        if config.visual_semantic and config.aggregation == "weighted":
            layers["share"] = (("one",), ("one",))
        if config.clustering == "netvlad":
            layers["assign"] = (points, ("clusters",))
        if config.clustering != "none":
            layers |= dict.fromkeys(("centroids", "start"), (("clusters",), points))
        if config.policy == "rllib":
            sizes = ((*points, "clusters", "classes"), ("policy",), ("policy",))
            for kind, given in (("policy", ("clusters",)), ("value", ("one",))):
                for number, (rows, columns) in enumerate(zip(sizes, (*sizes[1:], given), strict=True), 1):
                    layers[f"{kind}_{number}"] = (rows, columns)
        return layers

    def widths(self, task: Task, config: CLASTERConfig) -> dict[str, int]:
        own = {"hidden": config.hidden, "channels": config.channels, "clusters": config.clusters, "one": 1}
        own |= {"policy": config.policy_hidden, "classes": len(task.seen)}
        residuals = {f"features_{j}": task.features.shape[1] for j in range(config.clusters)}
        return {**own, **residuals}

    def start(self, member: Member, widths: Mapping[str, int]) -> dict[str, Tensor]:
        """The networks at their start; what the centroids lie in is the population's to find."""
        layers = self.layers(member.config)
        own = {name: parts for name, parts in layers.items() if name not in ("share", "centroids", "start")}
        weights = uniform_start(own, widths, generator(member.seed, "weights"))
        for name in layers:
            if name.startswith("conv_"):  # else ω may be too small to open a ReLU anywhere, and nothing learns
                weights[f"{name}_bias"].zero_()
            elif name == "share":
                weights[name] = torch.zeros(1, 1)  # both parts count for a half
        return weights

    def weights(self, config: CLASTERConfig, epoch: int, steps: int) -> dict[str, Tensor]:
        """Of Eq. 3 and the semantics. The reward is reported, and moves the centroids: no gradient comes from it."""
        values = {"classification": 1.0, "semantic": config.semantic_weight, "reward": 0.0}
        return {name: torch.full((steps,), float(value)) for name, value in values.items()}

    def decay(self, config: CLASTERConfig, layer: str) -> float:
        return config.weight_decay

    def of_classes(self, network: Network, text: Tensor) -> dict[str, Tensor]:
        """a' of each seen class, (…, S, D)."""
        return {"projected": projected(network, text)}

    def encoded(self, network: Network, batch: Batch) -> Encoded:
        """A batch's ω (Eq. 1) and what V makes of it (Eq. 2)."""
        config, most = batch.config, batch.widths["clusters"]
        exists = torch.arange(most, device=batch.x.device) < batch.fields.number("clusters")[..., None]
        own = CLASTERNetwork(config, network.weights, exists)
        semantic = own.estimated(batch.x) if config.visual_semantic else None
        points = own.joined(batch.x, semantic)
        omega, d = own.omega(points)
        scores = stacked_product(own.classified(omega), batch.seen.text.mT)
        scores = scores.masked_fill(~batch.seen.exist[..., None, :], -torch.inf)
        reward = torch.where(scores.argmax(dim=-1) == batch.labels, 1.0, -1.0)
        return Encoded(own, semantic, points, d, scores, reward)

    def losses(self, network: Network, batch: Batch, encoded: Encoded) -> dict[str, Tensor]:
        """L of Eq. 3, that is Eq. 2's cross-entropy; the semantics' squared error; the mean reward (Eq. 4)."""
        own = log_softmax(encoded.scores, dim=-1).gather(-1, batch.labels[..., None])[..., 0]  # (…, N)
        terms = {"classification": -own.mean(dim=-1), "reward": encoded.reward.mean(dim=-1)}
        if encoded.semantic is not None:
            classes = batch.seen.made["projected"]
            true = stacked_product(one_hot(batch.labels, classes.shape[-2]).to(classes.dtype), classes)
            terms["semantic"] = (encoded.semantic - true).square().mean(dim=(-2, -1))
        return terms

    def check(self, members: Sequence[Member]) -> None:
        """Raises InputError where there are fewer samples than clusters, fields contradict each other (as policy=rllib
        and clusters that nothing moves), or given logits are wanted and there are none."""
        super().check(members)
        for member in members:
            config, count = member.config, len(member.task.labels)
            if config.clustering != "none" and count < config.clusters:
                raise InputError(f"clusters={config.clusters}: more than the {count} training samples")
            if config.policy == "rllib" and config.clustering != "reinforce":
                raise InputError(f"policy=rllib: clustering={config.clustering} moves no centroid; use reinforce")
            if config.inference == "estimated" and not config.visual_semantic:
                raise InputError("inference=estimated: visual_semantic=false estimates no semantics; use predicted")

    def population(self, members: Sequence[Member], workers: Workers) -> Population:
        """Members that share `pack_by`, each with its `train_share` of the samples."""
        own = [replace(m, task=thinned(m.task, m.config.train_share, m.seed)) for m in members]
        return super().population(own, workers)


method = CLASTER()
