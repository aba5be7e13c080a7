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
- Its sum over classes includes the sample's own. That adds the margin, a constant, which is left out of the value;
  with negatives=fixed it also pulls the own class's text towards the sample at every step, which is kept.
- It lowers the learning rate, and stops, by the accuracy on unseen test classes: that reads the test set. Left out.
- Its text networks have a hidden layer where the text is 1024 wide, and none otherwise: text_layers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import normalize

from methods.compatibility import (
    SYNSES_GATE,
    CompatibilityConfig,
    CompatibilityModel,
    CompatibilityPopulation,
    check_members,
)
from platform.errors import InputError
from platform.method import Member, Method, Population
from platform.population.draws import generator
from platform.population.layers import stacked_product, uniform
from platform.workers import Workers

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


class JPoSE(Method):
    """The method; see the module."""

    Config = JPoSEConfig
    Model = JPoSEModel
    data_parallel = "shares"
    pack_by = ("batch_size", "text_layers")
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

    def population(self, members: Sequence[Member], workers: Workers) -> Population:
        """Members that train side by side. They share `pack_by`; task, seed and every other field may differ.

        Raises InputError where the class text is no verb and noun, given logits are wanted and there are none.
        """
        for member in members:
            if (width := member.task.semantics.shape[1]) % 2:
                raise InputError(
                    f"class text {width} wide is no verb and noun; --text verb+noun --combine concatenate gives them"
                )
        check_members(members)
        return _Population(members, workers)


method = JPoSE()


class _Population(CompatibilityPopulation):
    """JPoSE's members; see `platform.learning.stacked`. Slopes are autograd's."""

    losses = ("verb", "noun", "joint", "within")
    Model = JPoSEModel

    def __init__(self, members: Sequence[Member], workers: Workers) -> None:
        self.text_layers = members[0].config.text_layers
        self.layout = {}
        for part in _PARTS:
            self.layout[f"{part}_x"] = (("features",), ("width",))
            if self.text_layers == 2:
                self.layout[f"{part}_y_1"] = (("text",), ("hidden",))
            self.layout[f"{part}_y"] = (("hidden" if self.text_layers == 2 else "text",), ("width",))
        self.layout |= {f"joint_{side}": (("width", "width"), ("joint",)) for side in "xy"}
        super().__init__(members, workers)
        # (members, S) which classes share a verb, and a noun
        self.words = [torch.stack([_words(part) for part in self.text.chunk(2, dim=2)[p]]) for p in range(2)]
        self.margin, self.within, self.joint_weight, self.decay = (
            self.numbers(name) for name in ("margin", "within", "joint_weight", "joint_decay")
        )
        self.moved = torch.tensor([c.negatives == "moved" for c in self.configs], device=self.device)[:, None, None]

    def widths_of(self, member: Member) -> dict[str, int]:
        config, task = member.config, member.task
        own = {name: getattr(config, name) for name in ("width", "joint", "hidden")}
        return {"features": task.features.shape[1], "text": task.semantics.shape[1] // 2, **own}

    def initial_weights(self, member: Member) -> dict[str, Tensor]:
        widths, draw = self.widths_of(member), generator(member.seed, "weights")
        weights = {}
        for layer, parts in self.layout.items():
            rows, columns = (sum(widths[part] for part in several) for several in parts)
            weights[layer] = uniform(rows, rows, columns, draw)
            weights[f"{layer}_bias"] = uniform(rows, 1, columns, draw)
        return weights

    def differentiate(self, x: Tensor, labels: Tensor, rows: Tensor) -> Tensor:
        names = list(self.layers.parameters)
        with torch.enable_grad():
            leaves = {name: self.layers.parameters[name].detach().requires_grad_() for name in names}
            terms = self._terms(leaves, x, labels)
            weights = torch.stack([torch.ones_like(self.within)] * 2 + [self.joint_weight, self.within])
            slopes = torch.autograd.grad((terms * weights).sum(), [leaves[name] for name in names])
        for name, slope in zip(names, slopes, strict=True):
            self.layers.gradients[name].copy_(slope)
            if name.startswith("joint_"):
                self.layers.gradients[name].addcmul_(self.layers.parameters[name], self.decay[:, None, None])
        return terms.detach()

    def _terms(self, weights: Mapping[str, Tensor], x: Tensor, labels: Tensor) -> Tensor:
        """`losses` (4, members). x: (members, batch, D); labels: (members, batch)."""

        def layer(name: str, inputs: Tensor) -> Tensor:
            return stacked_product(inputs, weights[name]) + weights[f"{name}_bias"]

        visual, textual = _visual(layer, x), _textual(layer, self.text, self.text_layers)
        own = torch.nn.functional.one_hot(labels, self.text.shape[1]).to(x.dtype)  # (members, batch, S)
        across = [self._across(visual[space], textual[space], own) for space in (*_PARTS, "joint")]
        within = sum(
            self._within(visual[part], words.gather(1, labels)) for part, words in zip(_PARTS, self.words, strict=True)
        )
        return torch.stack([*across, within])

    def _across(self, places: Tensor, classes: Tensor, own: Tensor) -> Tensor:
        """(members,) mean hinge losses. places: (members, batch, width), classes: (members, S, width)."""
        others = torch.where(self.moved, classes, classes.detach())
        scores = stacked_product(places, others.transpose(1, 2))
        mine = stacked_product(own, classes)  # (members, batch, width)
        right = (places * mine).sum(dim=2, keepdim=True)
        beyond = (self.margin[:, None, None] + scores - right).relu()
        value = (beyond * (1 - own) * self.is_class[:, None, :]).sum(dim=(1, 2))
        pull = (places.detach() * (mine.detach() - mine)).sum(dim=(1, 2))  # zero, but for its slope
        return (value + torch.where(self.moved[:, 0, 0], 0.0, pull)) / own.shape[1]

    def _within(self, places: Tensor, words: Tensor) -> Tensor:
        """(members,) mean triplet losses with each sample's hardest positive and negative, taken as they are.

        places: (members, batch, width); words: (members, batch), equal for samples of one verb, or noun.
        """
        near = stacked_product(places, places.detach().transpose(1, 2))
        same = words[:, :, None] == words[:, None, :]
        positive = near.masked_fill(~same, torch.inf).amin(dim=2)
        negative = near.masked_fill(same, -torch.inf).amax(dim=2)
        return (self.margin[:, None] + negative - positive).relu().mean(dim=1)


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
    """(S,) numbers, equal for classes whose vectors are. text: (S, T)."""
    return torch.unique(text, dim=0, return_inverse=True)[1]
