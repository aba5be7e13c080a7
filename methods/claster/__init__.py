"""CLASTER: clustering with reinforcement learning for action recognition (Gowda et al., ECCV 2022).

A sample is represented by its features, an estimate of its class's semantics, and the centroids of a few clusters,
weighted by their nearness; a network reads the seen class from that. Whether it reads it rightly is the reward by which
the nearest centroid moves.

    config.py       every hyperparameter, with its place in the paper
    clustering.py   the centroids: ω (Eq. 1), what a reward moves (Eq. 5), how they start
    network.py      the MLPs: a', φ, ψ and V
    projection.py   the semantic-to-visual MLP, fitted before all else
    population.py   an iteration: classification (Eq. 2), both losses with their weights (Eq. 3), the centroids' step
    model.py        inference: rectification (Eq. 6), the nearest unseen class

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

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from methods.claster.config import CLASTERConfig
from methods.claster.model import CLASTERModel
from methods.claster.population import CLASTERPopulation, thinned
from methods.compatibility import check_members
from platform.errors import InputError
from platform.method import Member, Method, Population
from platform.workers import Workers

__all__ = ["CLASTER", "CLASTERConfig", "CLASTERModel", "method"]


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
        members = [replace(m, task=thinned(m.task, m.config.train_share, m.seed)) for m in members]
        for member in members:
            config, count = member.config, len(member.task.labels)
            if config.clustering != "none" and count < config.clusters:
                raise InputError(f"clusters={config.clusters}: more than the {count} training samples")
            if config.policy == "rllib" and config.clustering != "reinforce":
                raise InputError(f"policy=rllib: clustering={config.clustering} moves no centroid; use reinforce")
            if config.inference == "estimated" and not config.visual_semantic:
                raise InputError("inference=estimated: visual_semantic=false estimates no semantics; use predicted")
        return CLASTERPopulation(members, workers)


method = CLASTER()
