"""JPoSE: multiple parts-of-speech embeddings (Wray, Larlus, Csurka and Damen, ICCV 2019).

The features and the verb of each class meet in one space, the features and its noun in another, and both spaces'
embeddings, concatenated, in a third. In each, a sample's product with its own class should be the largest (loss across
modalities); in the first two, samples of one verb, or noun, should be nearer than those of another (loss within).

The class semantics hold the verb's vector and then the noun's: `--text verb+noun --combine concatenate`, the default
here. Which classes share a verb or a noun is told by equal vectors; those without a noun share the mean noun.

Sizes, losses and constants are those of SynSE's released code, from which both skeleton papers' numbers for JPoSE come.
Where we differ from it:

- Within a modality it pairs every sample with every other's hardest positive and negative, by a broadcasting slip; here
  each is paired with its own. It mines among the samples only, and so do we: a class is one text here, and classes of
  one verb have one and the same embedding. Data-parallel workers mine each in its own share of a batch.
- That slip also makes its triplet loss a sum over a batch's pairs for each sample, up to a batch's size times ours; its
  weight of 0.01 is kept.
- Its hinge sums over the sample's own class, too. The value of that term, the margin, is left out here; its gradient,
  which is not zero only where the other classes' text is detached (negatives=fixed), is kept (`hinge_loss`).
- It lowers the learning rate, and stops, by the accuracy on unseen test classes: that reads the test set. Left out.
- Its text networks have a hidden layer where the text is 1024 wide, and none otherwise: text_layers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import normalize, one_hot

from methods.compatibility import CompatibilityConfig, CompatibilityMethod, CompatibilityModel, hinge_loss
from methods.models import SYNSES_GATE
from platform.errors import InputError
from platform.learning.batch import Batch
from platform.learning.stated import Network
from platform.method import Member
from platform.population.draws import generator
from platform.population.layers import Layout, stacked_product, uniform_start
from platform.zeroshot.task import Task

_PARTS = ("verb", "noun")


class JPoSEConfig(CompatibilityConfig):
    """Hyperparameters of JPoSE; the defaults are those of SynSE's comparison (see the module)."""

    width: int = Field(50, ge=1, description="of the verb's and of the noun's space (SynSE)")
    joint: int = Field(50, ge=1, description="width of the joint space (SynSE)")
    text_layers: Literal[1, 2] = Field(2, description="of the text's networks (SynSE: 2 for 1024-d text, else 1)")
    hidden: int = Field(512, ge=1, description="width of the text's hidden layer (SynSE)")
    margin: float = Field(0.3, ge=0, description="of both losses (SynSE)")
    within: float = Field(0.01, ge=0, description="weight of the loss within the visual modality, of each part (SynSE)")
    joint_weight: float = Field(1.0, ge=0, description="weight of the joint space's loss (SynSE)")
    negatives: Literal["moved", "fixed"] = Field(
        "fixed",
        description="whether a sample's loss moves the other classes' text too, or its own class's only (SynSE)",
    )
    learning_rate: float = Field(1e-4, gt=0, description="of Adam (SynSE)")
    joint_decay: float = Field(1e-3, ge=0, description="weight decay of the joint layers, inside Adam (SynSE)")
    batch_size: int = Field(1024, ge=2, description="samples a step (SynSE)")
    epochs: int = Field(300, ge=1, description="passes over the training samples (SynSE: at most 2000)")


@dataclass(frozen=True)
class JPoSEModel(CompatibilityModel):
    """A trained JPoSE of one member; classes are placed in the joint space."""

    Config = JPoSEConfig

    def embeddings(self, x: Tensor) -> dict[str, Tensor]:
        """Samples (N, width) in the `verb` and the `noun` space, and (N, joint) in the `joint` one. x: (N, D)."""
        return _visual(self.layer, x)

    def latents(self, x: Tensor) -> dict[str, Tensor]:
        return self.embeddings(x)

    def class_places(self, semantics: Tensor) -> Tensor:
        return _textual(self.layer, semantics, self.config.text_layers)["joint"]

    def products(self, x: Tensor, places: Tensor) -> Tensor:
        return self.embeddings(x)["joint"] @ places.T


class JPoSE(CompatibilityMethod):
    """The method; see the module."""

    Config = JPoSEConfig
    Model = JPoSEModel
    data_parallel = "shares"
    pack_by = ("batch_size", "text_layers")
    loss_names = ("verb", "noun", "joint", "within")
    citation = """@inproceedings{wray2019fine,
  title = {Fine-Grained Action Retrieval through Multiple Parts-of-Speech Embeddings},
  author = {Wray, Michael and Larlus, Diane and Csurka, Gabriela and Damen, Dima},
  booktitle = {IEEE/CVF International Conference on Computer Vision (ICCV)},
  year = {2019}
}"""
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "synse": SYNSES_GATE,
        "synse-word2vec": {**SYNSES_GATE, "text_layers": 1},
    }

    def text_parts(self, config: JPoSEConfig) -> tuple[str, ...]:
        return _PARTS

    def layers(self, config: JPoSEConfig) -> Layout:
        layers = {}
        for part in _PARTS:
            layers[f"{part}_x"] = (("features",), ("width",))
            if config.text_layers == 2:
                layers[f"{part}_y_1"] = (("text",), ("hidden",))
            layers[f"{part}_y"] = (("hidden" if config.text_layers == 2 else "text",), ("width",))
        return layers | {f"joint_{side}": (("width", "width"), ("joint",)) for side in "xy"}

    def widths(self, task: Task, config: JPoSEConfig) -> dict[str, int]:
        own = {name: getattr(config, name) for name in ("width", "joint", "hidden")}
        return {"text": task.semantics.shape[1] // 2, **own}

    def start(self, member: Member, widths: Mapping[str, int]) -> dict[str, Tensor]:
        return uniform_start(self.layers(member.config), widths, generator(member.seed, "weights"))

    def weights(self, config: JPoSEConfig, epoch: int, steps: int) -> dict[str, Tensor]:
        values = zip(self.loss_names, (1.0, 1.0, config.joint_weight, config.within), strict=True)
        return {name: torch.full((steps,), value) for name, value in values}

    def decay(self, config: JPoSEConfig, layer: str) -> float:
        return config.joint_decay if layer.startswith("joint_") else 0.0

    def of_classes(self, network: Network, text: Tensor) -> dict[str, Tensor]:
        """Which classes share a verb, and a noun: (…, S) numbers that are equal for these."""
        return {part: _words(own) for part, own in zip(_PARTS, text.chunk(2, dim=-1), strict=True)}

    def losses(self, network: Network, batch: Batch, encoded: None) -> dict[str, Tensor]:
        """Hinge losses between the modalities in three spaces, and the two triplet losses among samples; each (…,)."""
        text = batch.seen.text
        visual, textual = _visual(network, batch.x), _textual(network, text, batch.config.text_layers)
        own = one_hot(batch.labels, text.shape[-2]).to(text.dtype)  # (…, batch, S)
        terms = {space: hinge_loss(visual[space], textual[space], own, batch) for space in self.loss_names[:3]}
        within = [_within(visual[part], batch.seen.made[part].gather(-1, batch.labels), batch) for part in _PARTS]
        return {**terms, "within": sum(within)}

    def check(self, members: Sequence[Member]) -> None:
        """Raises InputError where the class text is no verb and noun, or logits are wanted and missing."""
        super().check(members)
        for member in members:
            if (width := member.task.semantics.shape[1]) % 2:
                raise InputError(
                    f"class text {width} wide is no verb and noun; --text verb+noun --combine concatenate gives them"
                )


method = JPoSE()


def _within(places: Tensor, words: Tensor, batch: Batch) -> Tensor:
    """(…,) mean triplet losses with each sample's hardest positive and negative, taken as they are.

    places: (…, batch, width); words: (…, batch), equal for samples of one verb, or noun.
    """
    near = stacked_product(places, places.detach().mT)
    same = words[..., :, None] == words[..., None, :]
    positive = near.masked_fill(~same, torch.inf).amin(dim=-1)
    negative = near.masked_fill(same, -torch.inf).amax(dim=-1)
    return (batch.fields.number("margin")[..., None] + negative - positive).relu().mean(dim=-1)


def _visual(layer: Any, x: Tensor) -> dict[str, Tensor]:
    """Samples in the three spaces, each of length 1. layer: a layer's name and inputs to its output."""
    x = normalize(x, dim=-1)
    found = {part: normalize(layer(f"{part}_x", x).tanh(), dim=-1) for part in _PARTS}
    joint = layer("joint_x", torch.cat([found[part] for part in _PARTS], dim=-1))
    return {**found, "joint": normalize(joint.tanh(), dim=-1)}


def _textual(layer: Any, semantics: Tensor, layers: int) -> dict[str, Tensor]:
    """Classes in the three spaces, each of length 1. semantics: (…, C, 2 · T), verbs then nouns."""
    found = {}
    for part, text in zip(_PARTS, semantics.chunk(2, dim=-1), strict=True):
        text = normalize(text, dim=-1)
        if layers == 2:
            place = layer(f"{part}_y", layer(f"{part}_y_1", text).tanh()).relu()
        else:
            place = layer(f"{part}_y", text).tanh()
        found[part] = normalize(place, dim=-1)
    joint = layer("joint_y", torch.cat([found[part] for part in _PARTS], dim=-1))
    return {**found, "joint": normalize(joint.tanh(), dim=-1)}


def _words(text: Tensor) -> Tensor:
    """(…, S) numbers, equal for classes whose vectors are: the first such class. text: (…, S, T)."""
    same = (text[..., :, None, :] == text[..., None, :, :]).all(dim=-1)
    return same.to(torch.uint8).argmax(dim=-1)
