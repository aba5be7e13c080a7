"""ERPCNet's hyperparameters."""

from typing import Literal

from pydantic import Field

from platform.method import MethodConfig

Backbone = Literal[
    "resnet101",
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet152",
    "resnext50_32x4d",
    "resnext101_32x8d",
    "resnext101_64x4d",
    "wide_resnet50_2",
    "wide_resnet101_2",
    "squeezenet1_0",
    "squeezenet1_1",
]
BLOCKS = 5  # of either family: the stem and four more, the last of which is C^n


class ERPCNetConfig(MethodConfig):
    """Hyperparameters of ERPCNet; the defaults are the paper's, where they differ by data set those for CUB."""

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
    kernel: int = Field(5, ge=1, description="k of the partial convolution (Architecture Implementation)")
    stride: int = Field(3, ge=1, description="q, between neighbouring cells (Architecture Implementation)")
    padding: int = Field(0, ge=0, description="p of the partial convolution (14 × 14 maps give 4 × 4 cells: 0)")
    patch: int | None = Field(
        None, ge=1, description="side of a patch in pixels, crops=image; as a cell's if absent (paper: 80 of 224)"
    )
    steps: int = Field(6, ge=1, description="T, most localities of a picture; 10 for AwA2 (Section Experiments)")
    sigma: float = Field(
        0.5, gt=0, description="σ, reward at which a walk ends; in 0.1 … 1.1 (More Implementation Details; Fig. 5)"
    )
    joint_hidden: int = Field(2048, ge=1, description="width between the layers of fc_j (Architecture Implementation)")
    every_prefix: bool = Field(
        True, description="L_j at every length 1 … T, else at T alone (Eq. 4; see methods.erpcnet)"
    )
    dropout: float = Field(
        0.5, ge=0, lt=1, description="of fc_g, fc_l and fc_j: 0.5 or 0 (Architecture Implementation)"
    )
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
