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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import layer_norm, normalize, softplus

from methods.compatibility import CompatibilityConfig, CompatibilityModel, CompatibilityPopulation, check_members
from platform.method import Member, Method, Population
from platform.population.draws import generator
from platform.population.layers import Layout, stacked_product, uniform
from platform.workers import Workers

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


class SMIE(Method):
    """The method; see the module."""

    Config = SMIEConfig
    Model = SMIEModel
    data_parallel = "shares"
    pack_by = ("batch_size",)
    citation = """@inproceedings{zhou2023zero,
  title = {Zero-shot Skeleton-based Action Recognition via Mutual Information Estimation and Maximization},
  author = {Zhou, Yujie and Qiang, Wenwen and Rao, Anyi and Lin, Ning and Su, Bing and Wang, Jiaqi},
  booktitle = {ACM International Conference on Multimedia (ACM MM)},
  year = {2023}
}"""
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"released": {"test_normalisation": False}}

    def population(self, members: Sequence[Member], workers: Workers) -> Population:
        """Members that train side by side. They share `pack_by`; task, seed and every other field may differ.

        Raises InputError where given logits are wanted and there are none.
        """
        check_members(members)
        return _Population(members, workers)


method = SMIE()


class _Population(CompatibilityPopulation):
    """SMIE's members; see `platform.learning.stacked`."""

    layout = _LAYERS
    losses = ("information", "temporal")
    Model = SMIEModel

    def __init__(self, members: Sequence[Member], workers: Workers) -> None:
        super().__init__(members, workers)
        self.text = normalize(self.text, dim=2)
        self.temporal_weight, self.temporal_margin = (
            self.numbers(name) for name in ("temporal_weight", "temporal_margin")
        )
        self.other_class = torch.tensor([c.negatives == "other_class" for c in self.configs], device=self.device)

    def widths_of(self, member: Member) -> dict[str, int]:
        config, task = member.config, member.task
        own = {"hidden_1": config.hidden_1, "hidden_2": config.hidden_2, "one": 1}
        return {"features": task.features.shape[1], "text": task.semantics.shape[1], **own}

    def initial_weights(self, member: Member) -> dict[str, Tensor]:
        widths, draw = self.widths_of(member), generator(member.seed, "weights")
        first = widths["features"] + widths["text"]  # one layer's inputs
        weights = {}
        for layer, ((rows,), (columns,)) in _LAYERS.items():
            inputs = first if layer in ("visual", "language") else widths[rows]
            weights[layer] = uniform(inputs, widths[rows], widths[columns], draw)
            if layer != "language":
                weights[f"{layer}_bias"] = uniform(inputs, 1, widths[columns], draw)
        return weights

    def next_epoch(self) -> list[dict[str, float]]:
        self.optimiser.set_rates([rate_of(c, epoch) for c, epoch in zip(self.configs, self.epochs, strict=True)])
        return super().next_epoch()

    def differentiate(self, x: Tensor, labels: Tensor, rows: Tensor) -> Tensor:
        masked = None
        if self.data.masked is not None:
            masked = self.data.masked.index_select(0, rows.flatten()).view_as(x)
        x = layer_norm(x, x.shape[2:])
        places = stacked_product(self.text, self.layers.parameters["language"])  # (members, S, hidden_1)
        own = torch.nn.functional.one_hot(labels, self.text.shape[1]).to(x.dtype)  # (members, batch, S)
        language = stacked_product(own, places)
        rolled = x.roll(-1, dims=1)
        counts = torch.where(self.other_class[:, None], labels != labels.roll(-1, dims=1), True).to(x.dtype)
        counts = counts / counts.sum(dim=1, keepdim=True).clamp_min(1)
        batch = x.shape[1]
        inputs = [x, rolled] if masked is None else [x, rolled, layer_norm(masked, masked.shape[2:])]
        pairs = torch.cat(inputs, dim=1)  # (members, 2 or 3 · batch, D): true, false, and true ones of masked clips
        hidden_1 = (self.layers("visual", pairs) + language.repeat(1, len(inputs), 1)).relu_()
        hidden_2 = self.layers("hidden", hidden_1).relu_()
        scores = self.layers("score", hidden_2)[..., 0].split(batch, dim=1)  # (members, batch) of each

        false, false_slope = (softplus(scores[1]) * counts).sum(dim=1), scores[1].sigmoid() * counts
        information = -softplus(-scores[0]).mean(dim=1) - false
        slopes = [-(-scores[0]).sigmoid() / batch, false_slope]  # of the loss, −I
        temporal = torch.zeros_like(information)
        if masked is not None:
            fewer = -softplus(-scores[2]).mean(dim=1) - false
            temporal = (self.temporal_margin - (information - fewer)).relu()
            share = (self.temporal_weight * (temporal > 0))[:, None]
            slopes[0] = slopes[0] * (1 + share)  # the false pairs are in both estimates, and cancel
            slopes.append(share * (-scores[2]).sigmoid() / batch)
        self._write(pairs, hidden_1, hidden_2, own, torch.cat(slopes, dim=1)[..., None])
        return torch.stack([-information, temporal])

    def _write(self, pairs: Tensor, hidden_1: Tensor, hidden_2: Tensor, own: Tensor, slope: Tensor) -> None:
        """Write all gradients from the slope of the scores (members, pairs, 1)."""
        parameters = self.layers.parameters
        self.layers.write_slopes("score", hidden_2, slope)
        slope = stacked_product(slope, parameters["score"].transpose(1, 2)).mul_(hidden_2 > 0)
        self.layers.write_slopes("hidden", hidden_1, slope)
        slope = stacked_product(slope, parameters["hidden"].transpose(1, 2)).mul_(hidden_1 > 0)
        self.layers.write_slopes("visual", pairs, slope)
        several = pairs.shape[1] // own.shape[1]
        of_classes = stacked_product(own.repeat(1, several, 1).transpose(1, 2), slope)  # (members, S, hidden_1)
        stacked_product(self.text.transpose(1, 2), of_classes, out=self.layers.gradients["language"])


def rate_of(config: SMIEConfig, epoch: int) -> float:
    """The learning rate of an epoch, counted from 0: a linear warm-up, then half a cosine to zero."""
    if epoch < config.warm_up:
        return config.learning_rate * (epoch + 1) / config.warm_up
    done = (epoch - config.warm_up) / max(1, config.epochs - config.warm_up)
    return config.learning_rate * (1 + math.cos(math.pi * min(done, 1.0))) / 2
