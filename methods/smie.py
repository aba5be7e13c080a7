"""SMIE: mutual information estimation and maximisation (Zhou et al., ACM MM 2023).

A network D scores how well a sample's features and a class's text go together. It is trained to tell true pairs from
pairs with another sample's features: the Jensen-Shannon estimate of the mutual information of both modalities (global
alignment). Where features of the same clips with frames masked are given, the estimate must also grow with the frames
that are seen (temporal constraint).

The paper was at hand only in part; networks, losses and constants are those of its released code:

- D is [features; text] → 1024 → 512 → 1 with ReLU. Features are layer-normalised, without parameters; the text has
  length 1.
- I = E[−softplus(−D(v, y))] − E[softplus(D(v', y))], where v' are the batch's features moved on by one sample, so that
  a false pair may be of one class: negatives=rolled. With other_class such pairs do not count.
- Temporal: with I₁ from pairs (v₁, y) and (v', y), v₁ of masked clips, the loss is −I + 0.5 · max(0, 0.1 − (I − I₁)).
- The learning rate rises for 15 epochs and falls to zero as a cosine. The code's first epoch has rate zero; ours starts
  one step up.
- At test time the code leaves the layer normalisation out: the preset `released` does so too (test_normalisation).
- It keeps the best epoch by accuracy on the unseen test classes; that is the released protocol's to do.

The code draws which frames to mask anew at each step; here they are drawn once, as features are computed beforehand
(`platform.features write --masked 0.3 --name NAME`, then `--masked-features NAME`). Data-parallel workers pair
samples within their own share of a batch.

The paper has no generalised setting. Ours is SynSE's gate (the default), combination=joint, the class with the largest
D of all, or calibrated stacking.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import layer_norm, normalize, one_hot, softplus

from methods.compatibility import CompatibilityConfig, CompatibilityMethod, CompatibilityModel
from platform.learning.batch import Batch
from platform.learning.stated import Network
from platform.method import Member
from platform.population.draws import generator
from platform.population.layers import Layout, stacked_product, uniform
from platform.zeroshot.task import Task

_LAYERS: Layout = {  # the first layer in two, for a class's text goes through it once
    "visual": (("features",), ("hidden_1",)),
    "language": (("text",), ("hidden_1",)),
    "hidden": (("hidden_1",), ("hidden_2",)),
    "score": (("hidden_2",), ("one",)),
}
_PAIRS = 1 << 14  # of samples and classes that are scored at a time


class SMIEConfig(CompatibilityConfig):
    """Hyperparameters of SMIE; the defaults are its released code's."""

    hidden_1: int = Field(1024, ge=1, description="width of D's first hidden layer (released)")
    hidden_2: int = Field(512, ge=1, description="width of D's second hidden layer (released)")
    negatives: Literal["rolled", "other_class"] = Field(
        "rolled", description="false pairs: all of the batch moved on by one (released), or only those of other classes"
    )
    temporal_weight: float = Field(0.5, ge=0, description="of the temporal constraint, where masked features are given")
    temporal_margin: float = Field(0.1, ge=0, description="by which more frames should tell more (released)")
    test_normalisation: bool = Field(True, description="layer-normalise test samples too (released: no)")
    learning_rate: float = Field(1e-5, gt=0, description="of Adam, at the end of the warm-up (released)")
    warm_up: int = Field(15, ge=0, description="epochs in which the rate rises (released)")
    batch_size: int = Field(128, ge=2, description="samples a step (released)")
    epochs: int = Field(100, ge=1, description="passes over the training samples (released)")


@dataclass(frozen=True)
class SMIEModel(CompatibilityModel):
    """A trained SMIE of one member; a class's place is its share of D's first layer."""

    Config = SMIEConfig

    def class_places(self, semantics: Tensor) -> Tensor:
        return normalize(semantics, dim=1) @ self.weights["language"]

    def products(self, x: Tensor, places: Tensor) -> Tensor:
        x = layer_norm(x, x.shape[1:]) if self.config.test_normalisation else x
        visual, found = self.layer("visual", x), []
        for rows in visual.split(max(1, _PAIRS // len(places))):
            pairs = (rows[:, None] + places).relu_()  # (rows, C, hidden_1)
            found.append(self.layer("score", self.layer("hidden", pairs).relu())[..., 0])
        return torch.cat(found)


class SMIE(CompatibilityMethod):
    """The method; see the module."""

    Config = SMIEConfig
    Model = SMIEModel
    data_parallel = "shares"
    pack_by = ("batch_size",)
    loss_names = ("information", "temporal")
    citation = """@inproceedings{zhou2023zero,
  title = {Zero-shot Skeleton-based Action Recognition via Mutual Information Estimation and Maximization},
  author = {Zhou, Yujie and Qiang, Wenwen and Rao, Anyi and Lin, Ning and Su, Bing and Wang, Jiaqi},
  booktitle = {ACM International Conference on Multimedia (ACM MM)},
  year = {2023}
}"""
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"released": {"test_normalisation": False}}

    def layers(self, config: SMIEConfig) -> Layout:
        return _LAYERS

    def widths(self, task: Task, config: SMIEConfig) -> dict[str, int]:
        return {"hidden_1": config.hidden_1, "hidden_2": config.hidden_2, "one": 1}

    def start(self, member: Member, widths: Mapping[str, int]) -> dict[str, Tensor]:
        draw, weights = generator(member.seed, "weights"), {}
        first = widths["features"] + widths["text"]  # one layer's inputs
        for layer, ((rows,), (columns,)) in _LAYERS.items():
            inputs = first if layer in ("visual", "language") else widths[rows]
            weights[layer] = uniform(inputs, widths[rows], widths[columns], draw)
            if layer != "language":
                weights[f"{layer}_bias"] = uniform(inputs, 1, widths[columns], draw)
        return weights

    def weights(self, config: SMIEConfig, epoch: int, steps: int) -> dict[str, Tensor]:
        return {"information": torch.ones(steps), "temporal": torch.full((steps,), config.temporal_weight)}

    def learning_rate(self, config: SMIEConfig, epoch: int) -> float:
        """A linear warm-up, then half a cosine to zero."""
        if epoch < config.warm_up:
            return config.learning_rate * (epoch + 1) / config.warm_up
        done = (epoch - config.warm_up) / max(1, config.epochs - config.warm_up)
        return config.learning_rate * (1 + math.cos(math.pi * min(done, 1.0))) / 2

    def of_classes(self, network: Network, text: Tensor) -> dict[str, Tensor]:
        return {"text": normalize(text, dim=-1)}

    def losses(self, network: Network, batch: Batch, encoded: None) -> dict[str, Tensor]:
        """−I, and where masked features are given, max(0, margin − (I − I₁)); each (…,)."""
        x, labels, masked = layer_norm(batch.x, batch.x.shape[-1:]), batch.labels, batch.masked
        own = one_hot(labels, batch.seen.text.shape[-2]).to(x.dtype)  # (…, batch, S)
        language = stacked_product(own, network("language", batch.seen.made["text"]))
        pairs = [x, x.roll(-1, dims=-2)]  # true and false ones, and true ones of masked clips
        if masked is not None:
            pairs.append(layer_norm(masked, masked.shape[-1:]))
        hidden = (network("visual", torch.cat(pairs, dim=-2)) + torch.cat([language] * len(pairs), dim=-2)).relu()
        scores = network("score", network("hidden", hidden).relu())[..., 0].chunk(len(pairs), dim=-1)  # (…, batch) each

        other = (labels != labels.roll(-1, dims=-1)).to(x.dtype)
        counts = batch.fields.chosen("negatives", {"rolled": torch.ones_like(other), "other_class": other})
        counts = counts / counts.sum(dim=-1, keepdim=True).clamp_min(1)
        false = (softplus(scores[1]) * counts).sum(dim=-1)
        information = -softplus(-scores[0]).mean(dim=-1) - false
        if masked is None:
            return {"information": -information}
        fewer = -softplus(-scores[2]).mean(dim=-1) - false
        return {
            "information": -information,
            "temporal": (batch.fields.number("temporal_margin") - (information - fewer)).relu(),
        }


method = SMIE()
