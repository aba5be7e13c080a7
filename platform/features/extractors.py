"""The extractors by name: their hyperparameters with their sources, and how a network is made from them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from platform.configuration import nearest, validated
from platform.errors import InputError
from platform.features.joints import JOINTS, Layout
from platform.features.preparation import Preparation

if TYPE_CHECKING:  # PyTorch stands behind it, and the verb's help should not wait for it
    from platform.features.network import SkeletonNetwork


class ExtractorConfig(Preparation):
    """How clips are prepared and a network is trained: stochastic gradient descent with momentum, rates in steps."""

    learning_rate: float = Field(0.1, gt=0, description="of the first epochs (both released NTU configurations)")
    decay_epochs: tuple[int, ...] = Field((10, 50), description="epochs from which on the rate is a tenth of before")
    momentum: float = Field(0.9, ge=0, lt=1, description="of the gradients (both released training scripts)")
    nesterov: bool = Field(True, description="Nesterov's momentum (both released NTU configurations)")
    weight_decay: float = Field(1e-4, ge=0, description="of all parameters (both released NTU configurations)")
    batch_size: int = Field(64, ge=2, description="clips a step, over all workers (both released NTU configurations)")
    epochs: int = Field(80, ge=1, description="passes over the training clips")
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="of products in the network; auto: bfloat16 on a GPU that has it, else float32"
    )

    def rate(self, epoch: int) -> float:
        """The learning rate of an epoch, counted from 0."""
        return self.learning_rate * 0.1 ** sum(epoch >= boundary for boundary in self.decay_epochs)


class STGCNConfig(ExtractorConfig):
    """ST-GCN as released for NTU RGB+D (train.yaml, cross-subject); the preset `paper` has Section 4.1's steps."""

    dropout: float = Field(0.5, ge=0, lt=1, description="after each unit but the first (Section 4.1)")
    kernel: int = Field(9, ge=1, description="frames that a temporal convolution covers, odd (Section 4.1)")
    edge_importance: bool = Field(True, description="a learned weight on every edge and unit (Section 3.4)")


class ShiftGCNConfig(ExtractorConfig):
    """Shift-GCN as released for NTU RGB+D (train_joint.yaml, cross-subject), which is as Section 4.1 has it."""

    frames: int = Field(300, ge=4, multiple_of=4, description="length of every clip (released: 300)")
    lengthen: Literal["zeros", "loop", "resample"] = Field("loop", description="shorter clips repeat (released)")
    centre: Literal["none", "first_frame", "every_frame"] = Field(
        "every_frame", description="origin at the main body's spine, in every frame (released)"
    )
    turn: Literal["none", "trunk", "facing"] = Field(
        "trunk", description="spine along z and shoulders along x in the first frame (released)"
    )
    decay_epochs: tuple[int, ...] = Field(
        (60, 80, 100), description="epochs from which on the rate is a tenth of before"
    )
    epochs: int = Field(140, ge=1, description="passes over the training clips (Section 4.1)")
    stride_ahead: float = Field(
        0.5, ge=0, lt=2, description="frames that the second shift of a strided unit looks ahead (released kernel)"
    )


@dataclass(frozen=True)
class Extractor:
    """An extractor: its name, its hyperparameters, named values of them, and what to cite.

    build: a config (its bodies given, not 0), classes and a layout to a network for that layout's joints; PyTorch's own
    generator draws its parameters. pretrained_on: what the released weights that a preset is for were trained on.
    """

    name: str
    title: str
    Config: type[ExtractorConfig]
    build: Callable[[Any, int, Layout], "SkeletonNetwork"] = field(repr=False)
    presets: Mapping[str, Mapping[str, Any]]
    citation: str = field(repr=False)
    pretrained_on: Mapping[str, str] = field(default_factory=dict)

    def configure(self, values: Mapping[str, Any], preset: str | None = None) -> ExtractorConfig:
        """A configuration from a preset's values, overridden by others. Raises InputError."""
        if preset is not None and preset not in self.presets:
            raise InputError(f"no preset `{preset}` of {self.name}{nearest(preset, self.presets)}")
        return validated(self.Config, {**(self.presets[preset] if preset else {}), **values})


def _stgcn(config: STGCNConfig, classes: int, layout: Layout) -> "SkeletonNetwork":
    from platform.features.stgcn import STGCN

    if config.kernel % 2 == 0:
        raise InputError(f"kernel={config.kernel}: an even kernel has no middle frame; choose an odd one, such as 9")
    return STGCN(classes, layout, config.bodies, config.kernel, config.dropout, config.edge_importance)


def _shiftgcn(config: ShiftGCNConfig, classes: int, layout: Layout) -> "SkeletonNetwork":
    from platform.features.shiftgcn import ShiftGCN

    return ShiftGCN(classes, len(JOINTS[layout]), config.bodies, config.stride_ahead)


# chosen on the seen classes of UTD-MHAD's training partition
_SMALL = {"frames": 64, "lengthen": "resample", "bodies": 0, "centre": "first_frame", "turn": "facing"}
_SMALL |= {"batch_size": 16, "learning_rate": 0.05, "decay_epochs": (20, 26), "epochs": 30, "weight_decay": 1e-3}

EXTRACTORS = {
    extractor.name: extractor
    for extractor in (
        Extractor(
            "stgcn",
            "ST-GCN",
            STGCNConfig,
            _stgcn,
            {"paper": {"learning_rate": 0.01, "decay_epochs": (10, 20, 30, 40)}, "small": _SMALL},
            "@inproceedings{yan2018spatial, title={Spatial Temporal Graph Convolutional Networks for Skeleton-Based "
            "Action Recognition}, author={Yan, Sijie and Xiong, Yuanjun and Lin, Dahua}, booktitle={AAAI}, "
            "year={2018}}",
        ),
        Extractor(
            "shiftgcn",
            "Shift-GCN",
            ShiftGCNConfig,
            _shiftgcn,
            {
                # as UTD-MHAD's published features were made: no half frame ahead, and centred once
                "utd": {"layout": "kinect_v2", "frames": 128, "centre": "first_frame", "stride_ahead": 0.0},
                "small": _SMALL,
            },
            "@inproceedings{cheng2020skeleton, title={Skeleton-Based Action Recognition with Shift Graph Convolutional "
            "Network}, author={Cheng, Ke and Zhang, Yifan and He, Xiangyu and Chen, Weihan and Cheng, Jian and Lu, "
            "Hanqing}, booktitle={CVPR}, year={2020}}",
            {"utd": "ntu60"},
        ),
    )
}


def find_extractor(name: str) -> Extractor:
    """The extractor of that name. Raises InputError, suggesting the nearest, where there is none."""
    if name not in EXTRACTORS:
        raise InputError(f"no extractor `{name}`{nearest(name, EXTRACTORS)}")
    return EXTRACTORS[name]
