"""ERPCNet: an entropy-guided reinforced partial convolutional network (Li et al., IEEE TCSVT 2022).

A picture is recognised by its embedding as a whole and by those of a few regions of its feature maps, which a recurrent
policy visits one after the other until the prediction is sure enough. All of it is trained from the pixels: stage I
learns the networks with regions drawn at random, stage II the policy alone.

The features are pictures: uint8, channel first, decoded and square. Followed: Eq. 1 (L_g), 2 (the policy's state), 3
(L_l), 4 (L_j), 5 (L_m), 6 – 8 (the reward) and the architecture of Appendix B. No code was released. Where the paper is
silent or says two things, this is our choice, and why:

- The maps: e^{n−1} is what the backbone's last block takes: layer4 of a ResNet, the last fire module of a SqueezeNet.
  At 224 pixels a ResNet's are 14 × 14, and the cells 4 × 4, as the paper has them.
- The partial convolution's 26 million weights start as each channel's average over the region, bias 0 and no
  non-linearity after it (none is named): C_l, which starts as C^n, so begins with maps of the kind that it knows.
- fc_j has no non-linearity between its layers, as its definition is written. e_j is what its first layer gives; the
  union embedding is ē_g + e_j where both are equally wide, as in the paper, and their concatenation elsewhere.
- L_j is the mean over all lengths 1 … T of a sequence: stage II and inference ask fc_j after each step, and stage I
  must make it "predict correctly for an arbitrary sequence"; with Eq. 4 at T alone (`every_prefix=false`) fc_j would
  never have seen the zeros that fill a shorter one. L_m takes the maximum over all T steps.
- All steps of a batch go through C_l at once, so that its batch normalisation sees them together. Batch normalisation
  is trained as usual; blocks that `frozen_blocks` keeps as they are also keep their statistics.
- Gradients are not cut, but a SqueezeNet's are, at 5: the paper's ResNet has batch normalisation, a SqueezeNet nothing
  like it (with ImageNet's weights |ē_g| is about 470, the first gradient's norm about 900). At the paper's rate its
  losses leave the finite numbers within two epochs, or where they end hangs on the last bits of a product.
- Augmentation is a random resized crop and a flip, in training; the middle of the picture in stage II and in testing.
- Epochs, batch size and the share of the two stages are not said. Validation chooses among the epochs of stage II:
  until it begins, a model visits T cells at random, as PCNet does.
- PPO is RLlib's: advantages are standardised over a batch, an episode that an iteration cuts off goes on in the value
  of its state, and four passes over an iteration in minibatches of 16 episodes stand where nothing is said. Adam starts
  anew in each epoch, which sees policy_iterations · policy_episodes pictures, not all.
- Every r_t is positive and r ≥ σ ends an episode, so that Eq. 9 also pays for staying unsure: a return above a random
  policy's is to be read beside the steps taken.
- π's outputs are the logits of the cells, without the sigmoid that Eq. 15 ends it with: between 0 and 1 they could
  prefer one cell to another by a factor e at most (`policy_sigmoid=true` keeps it).
- Inference (Section "Training and Inference"): ā = ā_j,t + ā_g, with the walk that ends where the reward reaches σ. The
  predicted label, which stands there for the truth, and the softmax are over the classes that are asked for: the
  unseen ones in ZSL, all in GZSL, there before δ is taken. The policy takes its likeliest cell.
- Table 2's rows share all but what they are named for; GlobalNet and PCNet train their network for all of `epochs`,
  where RPCNet and ERPCNet give the last `policy_epochs` to the policy.
- PCNet (`sampler=random`) always takes T steps, drawn by the model's seed and the sample's place among those scored.
- HardNet (`crops=image`): a second backbone on patches of the picture that lie as the cells do; the paper's may lie
  anywhere. β is then of the picture's own numbers.
- Calibrated stacking's δ is fitted on pseudo-unseen classes, as for every method here; the paper's own values stand
  beside the presets. It is taken from log-probabilities, which differ from āᵀφ by one number for all classes.
- The semantics have length 1, which the platform's class text sees to.

Members are trained one after the other: one network fills a device. Data-parallel workers share each batch, and the
first of them trains the policy.
"""

import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any, ClassVar, Literal, Self

import torch
from pydantic import Field
from torch import Tensor

from methods.locality_network import (
    BLOCKS,
    Backbone,
    LocalityNetwork,
    centred,
    network_of,
    normalised,
    offset_of_centre,
    squares,
)
from methods.locality_policy import LocalityPolicy
from methods.locality_training import LocalityLearner
from methods.locality_walks import Trace, Walk, by_policy, drawn_cells, in_turn, walked
from platform.errors import InputError
from platform.method import Learner, LearnerMethod, Member, MethodConfig, Model
from platform.workers import Workers
from platform.zeroshot.steps import Steps

_SCORED_AT_ONCE = 64  # pictures


class ERPCNetConfig(MethodConfig):
    """Hyperparameters of ERPCNet; the defaults are the paper's."""

    backbone: Backbone = Field("resnet101", description="f_G, one of torchvision's networks (Section Experiments)")
    weights: str = Field(
        "imagenet", description="of the backbone: imagenet (torchvision's, downloaded), none, or a file of them"
    )
    frozen_blocks: int = Field(0, ge=0, le=BLOCKS, description="first blocks left as they are, of 5 (ours; paper: 0)")
    side: int = Field(224, ge=32, description="of the square that the network sees, in pixels (Section Experiments)")
    smallest_crop: float = Field(0.08, gt=0, le=1, description="least area of a random crop (torchvision's; not said)")
    sampler: Literal["policy", "random", "none"] = Field(
        "policy", description="what chooses localities: ERPCNet, or at random (PCNet), or no local subnet (GlobalNet)"
    )
    entropy: bool = Field(True, description="β in the reward (Eq. 7); else RPCNet")
    crops: Literal["maps", "image"] = Field("maps", description="localities of feature maps, or of the image (HardNet)")
    kernel: int = Field(5, ge=1, description="k of the partial convolution (Appendix B)")
    stride: int = Field(3, ge=1, description="q, between neighbouring cells (Appendix B)")
    padding: int = Field(0, ge=0, description="p of the partial convolution (14 × 14 maps give 4 × 4 cells: 0)")
    patch: int | None = Field(
        None, ge=1, description="side of a patch in pixels, crops=image; as a cell's if absent (paper: 80 of 224)"
    )
    steps: int = Field(6, ge=1, description="T, most localities of a picture; 10 for AwA2 (Section Experiments)")
    sigma: float = Field(0.5, gt=0, description="σ, reward at which a walk ends; in 0.1 … 1.1 (Appendix A; Fig. 5)")
    joint_hidden: int = Field(2048, ge=1, description="width between the layers of fc_j (Appendix B)")
    every_prefix: bool = Field(True, description="L_j at every length 1 … T, else at T alone (Eq. 4; see the module)")
    dropout: float = Field(0.5, ge=0, lt=1, description="of fc_g, fc_l and fc_j: 0.5 or 0 (Appendix B)")
    learning_rate: float = Field(1e-3, gt=0, description="of SGD at first (Section Experiments)")
    fresh_rate: float = Field(
        1.0, gt=0, description="times that, of layers that start without weights (ours; paper: 1)"
    )
    decay_epochs: int = Field(30, ge=1, description="after which it is a tenth, and then again (Section Experiments)")
    momentum: float = Field(0.9, ge=0, lt=1, description="of SGD (Section Experiments)")
    weight_decay: float = Field(1e-5, ge=0, description="of SGD (Section Experiments)")
    largest_gradient: float | None = Field(
        None,
        ge=0,
        description="norm to which a gradient is cut, 0 for never; if absent, 5 for a SqueezeNet, else 0 (paper: 0)",
    )
    policy_learning_rate: float = Field(3e-4, gt=0, description="of the policy's Adam (Section Experiments)")
    policy_iterations: int = Field(2, ge=1, description="of PPO, in each epoch of stage II (not said)")
    policy_episodes: int = Field(128, ge=2, description="pictures of an iteration of PPO, at least (not said)")
    env_runners: int = Field(
        0, ge=0, description="processes that play episodes, each sent all localities; 0, this one, repeats its numbers"
    )
    policy_sigmoid: bool = Field(False, description="end π with a sigmoid (Eq. 15); as logits, nearly uniform cells")
    batch_size: int = Field(32, ge=1, description="pictures an iteration (not said)")
    epochs: int = Field(90, ge=1, description="of both stages (not said)")
    policy_epochs: int = Field(30, ge=0, description="the last ones, which are stage II; sampler=policy (not said)")
    combination: Literal["stacking", "hard", "soft", "joint"] = Field(
        "stacking",
        description="calibrated stacking (Section Training and Inference), a gate, or scores over all classes",
    )

    @property
    def network_epochs(self) -> int:
        """Of stage I."""
        return self.epochs - (self.policy_epochs if self.sampler == "policy" else 0)

    @property
    def gradient_cut(self) -> float:
        """`largest_gradient`, or what the backbone needs where it is not given; 0 where nothing is cut."""
        if self.largest_gradient is not None:
            return self.largest_gradient
        return 5.0 if self.backbone.startswith("squeezenet") else 0.0

    @property
    def first_epoch(self) -> int:
        """Of stage II, before which a model is PCNet's."""
        return self.network_epochs if self.sampler == "policy" else 0


@dataclass(frozen=True)
class ERPCNetModel(Model):
    """A trained ERPCNet of one member.

    weights: the network's by name; policy: the sampler's, empty before stage II; semantics: (C, A) of all classes, seen
    first. Log-probabilities are of āᵀφ, over the unseen classes, the seen ones, or all: the two blocks of one whole.
    """

    Config: ClassVar[type[MethodConfig]] = ERPCNetConfig

    config: ERPCNetConfig
    seed: int
    weights: dict[str, Tensor] = field(repr=False)
    policy: dict[str, Tensor] = field(repr=False)
    semantics: Tensor = field(repr=False)

    @property
    def learns_seen_classes(self) -> bool:
        return True

    def unseen_scores(self, x: Tensor) -> Tensor:
        return self._scores(x, self.semantics[len(self.seen) :])

    def seen_scores(self, x: Tensor, logits: Tensor | None = None) -> Tensor:
        return self._scores(x, self.semantics[: len(self.seen)])

    def sides(self, x: Tensor, logits: Tensor | None = None) -> tuple[Tensor, Tensor]:
        if self.config.combination not in ("stacking", "joint"):
            return super().sides(x, logits)
        scores = self._scores(x, self.semantics)
        return scores[:, : len(self.seen)], scores[:, len(self.seen) :]

    def latents(self, x: Tensor) -> dict[str, Tensor]:
        """ē_g, and ē_u = <ē_g + e_j> as the walk among all classes ends (Fig. 9)."""
        walk = self._walks(x, keep_embeddings=True)
        if not walk.cells.shape[1]:
            return {"global": walk.whole}
        last = walk.ends(self.semantics, self._sigma, self.config.entropy) - 1
        joint = walk.joint_embeddings[torch.arange(len(last), device=last.device), last]
        same = joint.shape[1] == walk.whole.shape[1]
        return {"global": walk.whole, "union": walk.whole + joint if same else torch.cat([walk.whole, joint], dim=1)}

    def trace(self, x: Tensor, classes: Literal["unseen", "seen", "all"] = "unseen") -> Trace:
        """How samples (N, D) are recognised among some classes, step by step."""
        walk, seen = self.walk(x), len(self.seen)
        semantics = {"unseen": self.semantics[seen:], "seen": self.semantics[:seen], "all": self.semantics}[classes]
        entropy = self.config.entropy
        return Trace(
            walk.cells,
            self._network.boxes(walk.cells),
            walk.rewards(semantics, entropy),
            walk.ends(semantics, self._sigma, entropy),
            walk.predictions(semantics),
        )

    def steps(self, x: Tensor) -> Steps | None:
        """What was predicted after each locality (Fig. 4 – 6 and 10, Table 3); None where there is no local subnet."""
        trace = self.trace(x)
        if not trace.cells.shape[1]:
            return None
        side = self.config.side
        return trace.as_steps(offset_of_centre(squares(x, side).shape[-1], side))

    def __getstate__(self) -> dict[str, Any]:
        """Without what scoring keeps."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    def walk(self, x: Tensor) -> Walk:
        """The walks of samples (N, D), all T steps of them; the last x's are kept, since several scores read them."""
        kept, version = self._kept, None if x.is_inference() else x._version
        if not (kept and kept["x"]() is x and kept["version"] == version):
            kept |= {"x": weakref.ref(x), "version": version, "walk": self._walks(x)}
        return kept["walk"]

    def with_classes(self, names: Sequence[str], semantics: Tensor) -> Self:
        semantics = semantics.to(self.semantics)
        if semantics.dim() != 2 or semantics.shape[1] != self.semantics.shape[1]:
            expected = self.semantics.shape[1]
            raise InputError(
                f"semantics of new classes: shape {tuple(semantics.shape)}, expected (classes, {expected})"
            )
        return replace(self, unseen=tuple(names), semantics=torch.cat([self.semantics[: len(self.seen)], semantics]))

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        tensors = {f"weights.{name}": tensor for name, tensor in self.weights.items()}
        tensors |= {f"policy.{name}": tensor for name, tensor in self.policy.items()}
        return tensors | {"semantics": self.semantics}, {"config": self.config.model_dump(), "seed": self.seed}

    @classmethod
    def from_state(cls, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> Self:
        def named(kind: str) -> dict[str, Tensor]:
            return {n.removeprefix(f"{kind}."): t for n, t in tensors.items() if n.startswith(f"{kind}.")}

        return cls(
            seen=tuple(values["seen"]),
            unseen=tuple(values["unseen"]),
            combination=values["combination"],
            config=ERPCNetConfig(**values["config"]),
            seed=values["seed"],
            weights=named("weights"),
            policy=named("policy"),
            semantics=tensors["semantics"],
        )

    def _scores(self, x: Tensor, semantics: Tensor) -> Tensor:
        """(N, C) log-probabilities among classes of semantics (C, A), as each walk ends."""
        walk = self.walk(x)
        ends = walk.ends(semantics, self._sigma, self.config.entropy)
        return walk.predictions(semantics)[torch.arange(len(ends), device=ends.device), ends]

    def _walks(self, x: Tensor, keep_embeddings: bool = False) -> Walk:
        starts = range(0, max(len(x), 1), _SCORED_AT_ONCE)
        batches = [range(a, min(a + _SCORED_AT_ONCE, len(x))) for a in starts]
        with torch.no_grad():
            return Walk.joined([self._walk(x[b.start : b.stop], b, keep_embeddings) for b in batches])

    def _walk(self, x: Tensor, places: range, keep_embeddings: bool) -> Walk:
        """Of one batch. places: where its samples stand among those scored."""
        network = self._network
        maps, whole = network.embedded(normalised(centred(x, self.config.side).to(self.semantics.device)))
        if self.policy:
            choose = by_policy(self._policy, len(x), whole.device)
        else:
            steps = self.config.steps if network.cells else 0
            choose = in_turn(drawn_cells(self.seed, places, network.cells, steps).to(whole.device))
        return walked(network, whole, lambda chosen: network.looked(maps, chosen), choose, keep_embeddings)

    @property
    def _sigma(self) -> float | None:
        """Only a policy's walk ends early."""
        return self.config.sigma if self.policy else None

    @cached_property
    def _network(self) -> LocalityNetwork:
        return network_of(self.config, self.semantics.shape[1], self.weights).requires_grad_(False).eval()

    @cached_property
    def _policy(self) -> LocalityPolicy:
        return LocalityPolicy(self.policy, self.config.policy_sigmoid)

    @cached_property
    def _kept(self) -> dict[str, Any]:
        return {}


class ERPCNet(LearnerMethod):
    """The method; see the module."""

    Config = ERPCNetConfig
    Model = ERPCNetModel
    data_parallel = "shares"
    pack_by = ("batch_size",)
    learns_from = ("pixels",)
    citation = """@article{li2022erpcnet,
  title = {Entropy-guided Reinforced Partial Convolutional Network for Zero-Shot Learning},
  author = {Li, Yun and Liu, Zhe and Yao, Lina and Wang, Xianzhi and McAuley, Julian and Chang, Xiaojun},
  journal = {IEEE Transactions on Circuits and Systems for Video Technology},
  year = {2022}
}"""
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "cub": {"sigma": 0.5, "steps": 6, "dropout": 0.5},  # the paper's δ: 0.8
        "sun": {"sigma": 0.7, "steps": 6, "dropout": 0.0},  # 0.2
        "apy": {"sigma": 1.1, "steps": 6, "dropout": 0.5},  # 0.5
        "awa2": {"sigma": 0.5, "steps": 10, "dropout": 0.0},  # 0.5
        # ours, for a CPU: maps of 7 × 7 give 3 × 3 cells, and only the last block and what follows it is trained
        "small": {
            "backbone": "squeezenet1_1",
            "frozen_blocks": 4,
            "side": 128,
            "smallest_crop": 0.5,
            "kernel": 3,
            "stride": 2,
            "steps": 4,
            "joint_hidden": 512,
            "dropout": 0.0,
            "epochs": 20,
            "policy_epochs": 5,
        },
    }

    def learner(self, member: Member, workers: Workers) -> Learner:
        """A member in training. Members of a pack share `pack_by`; all else may differ.

        Raises InputError where the samples are no pictures or too small, cells or epochs are too few, weights cannot be
        had, or a worker has too few pictures a step.
        """
        config = member.config
        if config.batch_size // workers.world_size < 2:
            raise InputError(f"batch_size={config.batch_size}: batch normalisation needs two pictures a worker")
        if config.sampler == "policy" and not config.policy_epochs:
            raise InputError("policy_epochs=0: sampler=policy would never learn one; use sampler=random")
        if config.network_epochs < 1:
            raise InputError(
                f"policy_epochs={config.policy_epochs}: leaves none of the {config.epochs} epochs for stage I"
            )
        return LocalityLearner(member, workers, ERPCNetModel)


method = ERPCNet()
