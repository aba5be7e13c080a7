"""ReViSE: robust visual-semantic embeddings (Hubert Tsai, Huang and Salakhutdinov, ICCV 2017).

An autoencoder for the features, contractive, and a plain one for the class text. The distributions of their codes are
brought together by the Maximum Mean Discrepancy (MMD), and from each code a second layer leads to a space in which a
sample's product with its own class should be the largest (association loss).

The paper was at hand only in part, so sizes and constants are those of SynSE's released code, from which both skeleton
papers' numbers for ReViSE come. What was chosen, and why:

- Sizes (code 100, shared space 50, one hidden layer of 512 for the text and none for the features), ReLU codes, tanh in
  the shared space, PyTorch's own start, Adam with rate 1e-4 and weight decay on the text's layers, batches of 1024, 300
  epochs: SynSE's code. Its learning rate also falls when the accuracy on unseen test classes does not rise; that reads
  the test set and is left out.
- Association loss: SynSE's code has a margin of 0.3 to every other class, where the paper, by a comment in that code,
  has a binary prediction loss: association=binary, a logistic loss a class. The softmax's cross-entropy is there too.
  The code's sum over classes includes the sample's own. That adds the margin, a constant, which is left out of the
  value; with negatives=fixed it also pulls the own class's text towards the sample at every step, which is kept.
- MMD: the biased estimate with the kernel exp(−κ‖h − h'‖²), κ = 32, both in SynSE's code.
- Contraction: γ‖∂h/∂x‖², the squared Frobenius norm, averaged over samples (Rifai et al., 2011). SynSE's code has γ =
  1e-4, but computes its term so that no gradient flows through it, which is contraction=0.
- The paper also adapts to unlabelled samples of the unseen classes. A task holds none, and it is left out.

The preset `synse` has what SynSE's code does otherwise: features as log(1 + x), ReLU on the decoders' outputs, and text
that is moved only as a sample's own class, not as one of the others.

Unseen scores are the softmax of the products. For GZSL, SynSE puts ReViSE behind its gate (the default);
combination=joint takes the class with the largest product of all, and stacking with seen_classifier=compatibility
calibrates that.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import softplus

from methods.compatibility import (
    SYNSES_GATE,
    CompatibilityConfig,
    CompatibilityModel,
    CompatibilityPopulation,
    check_members,
)
from methods.outputs import warn_of_relu
from platform.errors import InputError
from platform.method import Member, Method, Population
from platform.population.adam import PopulationAdam
from platform.population.draws import generator
from platform.population.layers import Layout, stacked_product, uniform
from platform.workers import Workers

_LAYERS: Layout = {  # rows and columns of each layer's matrix
    "encoder_x": (("features",), ("code",)),
    "decoder_x": (("code",), ("features",)),
    "shared_x": (("code",), ("shared",)),
    "encoder_y_1": (("text",), ("hidden",)),
    "encoder_y_2": (("hidden",), ("code",)),
    "decoder_y_1": (("code",), ("hidden",)),
    "decoder_y_2": (("hidden",), ("text",)),
    "shared_y": (("code",), ("shared",)),
}


class ReViSEConfig(CompatibilityConfig):
    """Hyperparameters of ReViSE; the defaults are those of SynSE's comparison (see the module)."""

    code: int = Field(100, ge=1, description="width of both autoencoders' codes (SynSE)")
    shared: int = Field(50, ge=1, description="width of the space in which samples and classes are compared (SynSE)")
    hidden: int = Field(512, ge=1, description="width of the hidden layers of the text's autoencoder (SynSE)")
    association: Literal["hinge", "binary", "softmax"] = Field(
        "hinge", description="maximum margin (SynSE), a logistic loss for each class, or cross-entropy"
    )
    margin: float = Field(0.3, ge=0, description="of association=hinge (SynSE)")
    negatives: Literal["moved", "fixed"] = Field(
        "moved",
        description="whether a sample's loss moves the other classes' text too, or its own class's only (SynSE), which "
        "the hinge then pulls at every step",
    )
    reconstruction: float = Field(1.0, ge=0, description="weight of both reconstruction errors, means over elements")
    contraction: float = Field(1e-4, ge=0, description="γ, weight of the contractive term (SynSE)")
    discrepancy: float = Field(1.0, ge=0, description="weight of the MMD of both codes (SynSE)")
    kappa: float = Field(32.0, gt=0, description="κ of the MMD's kernel exp(−κ‖h − h'‖²) (SynSE)")
    log_features: bool = Field(False, description="features as log(1 + x) (SynSE)")
    output_relu: bool = Field(False, description="ReLU on the decoders' outputs (SynSE)")
    learning_rate: float = Field(1e-4, gt=0, description="of Adam (SynSE)")
    text_decay: float = Field(1e-3, ge=0, description="weight decay of the text's layers, inside Adam (SynSE)")
    batch_size: int = Field(1024, ge=2, description="samples a step (SynSE)")
    epochs: int = Field(300, ge=1, description="passes over the training samples (SynSE)")


@dataclass(frozen=True)
class ReViSEModel(CompatibilityModel):
    """A trained ReViSE of one member; classes are placed in the shared space."""

    Config = ReViSEConfig

    def place(self, x: Tensor) -> Tensor:
        """(N, shared) samples in the shared space. x: (N, D)."""
        x = torch.log1p(x.clamp_min(0)) if self.config.log_features else x
        return self.layer("shared_x", self.layer("encoder_x", x).relu()).tanh()

    def class_places(self, semantics: Tensor) -> Tensor:
        """(C, shared) classes in the shared space. semantics: (C, T)."""
        code = self.layer("encoder_y_2", self.layer("encoder_y_1", semantics).relu()).relu()
        return self.layer("shared_y", code).tanh()

    def latents(self, x: Tensor) -> dict[str, Tensor]:
        return {"shared": self.place(x)}

    def products(self, x: Tensor, places: Tensor) -> Tensor:
        return self.place(x) @ places.T


class ReViSE(Method):
    """The method; see the module."""

    Config = ReViSEConfig
    Model = ReViSEModel
    data_parallel = "shares"
    pack_by = ("batch_size",)
    citation = """@inproceedings{hubert2017revise,
  title = {Learning Robust Visual-Semantic Embeddings},
  author = {Hubert Tsai, Yao-Hung and Huang, Liang-Kang and Salakhutdinov, Ruslan},
  booktitle = {IEEE International Conference on Computer Vision (ICCV)},
  year = {2017}
}"""
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "synse": {
            "negatives": "fixed",
            "contraction": 0.0,
            "log_features": True,
            "output_relu": True,
            **SYNSES_GATE,
        }
    }

    def population(self, members: Sequence[Member], workers: Workers) -> Population:
        """Members that train side by side. They share `pack_by`; task, seed and every other field may differ.

        Raises InputError where given logits are wanted and there are none, a logarithm is wanted of negative features.
        """
        for member in members:
            if member.config.log_features and (least := member.task.features.min().item()) < 0:
                raise InputError(f"log_features=true: some features are negative ({least:g}); try --normalise none")
        check_members(members)
        warn_of_relu("revise", members)
        return _Population(members, workers)


method = ReViSE()


class _Population(CompatibilityPopulation):
    """ReViSE's members; see `platform.learning.stacked`."""

    layout = _LAYERS
    losses = ("association", "reconstruction", "contraction", "discrepancy")
    Model = ReViSEModel

    def __init__(self, members: Sequence[Member], workers: Workers) -> None:
        super().__init__(members, workers)
        self.associations = {kind: self.chosen([c.association == kind for c in self.configs]) for kind in _ASSOCIATIONS}
        self.fixed = self.chosen([c.negatives == "fixed" for c in self.configs])
        pulls = [float(c.association == "hinge") for c in self.configs]
        self.pull = torch.tensor(pulls, device=self.device)[:, None, None]  # of the own class's text, where fixed
        self.logarithmic = self.chosen([c.log_features for c in self.configs])
        relu = self.chosen([c.output_relu for c in self.configs])
        self.without_relu = None if relu is None else ~relu[:, None, None]
        self.weights = {name: self.numbers(name) for name in ("reconstruction", "contraction", "discrepancy")}
        self.margin, self.kappa, self.decay = (self.numbers(name) for name in ("margin", "kappa", "text_decay"))

    def widths_of(self, member: Member) -> dict[str, int]:
        config, task = member.config, member.task
        own = {name: getattr(config, name) for name in ("code", "shared", "hidden")}
        return {"features": task.features.shape[1], "text": task.semantics.shape[1], **own}

    def initial_weights(self, member: Member) -> dict[str, Tensor]:
        widths, draw = self.widths_of(member), generator(member.seed, "weights")
        weights = {}
        for layer, ((rows,), (columns,)) in _LAYERS.items():
            weights[layer] = uniform(widths[rows], widths[rows], widths[columns], draw)
            weights[f"{layer}_bias"] = uniform(widths[rows], 1, widths[columns], draw)
        return weights

    def make_optimisers(self) -> Sequence[PopulationAdam]:
        self.optimiser = PopulationAdam(self.layers.parameters, [c.learning_rate for c in self.configs])
        return [self.optimiser]

    def differentiate(self, x: Tensor, labels: Tensor, rows: Tensor) -> Tensor:
        """Write the gradients of all terms with their weights; gives the terms, (4, members).

        x: (members, batch, D); labels: (members, batch) in 0 … S − 1. Text is encoded once a class and counted as often
        as the batch has it.
        """
        if self.logarithmic is not None:
            x = torch.where(self.logarithmic[:, None, None], x.clamp_min(0).log1p_(), x)
        batch = x.shape[1]
        own = (labels[..., None] == torch.arange(self.text.shape[1], device=self.device)).to(
            x.dtype
        )  # (members, batch, S)
        counts = own.sum(dim=1)  # (members, S)
        code_x = self.layers("encoder_x", x).relu_()
        hidden = self.layers("encoder_y_1", self.text).relu_()
        code_y = self.layers("encoder_y_2", hidden).relu_()

        place_x, place_y = self.layers("shared_x", code_x).tanh_(), self.layers("shared_y", code_y).tanh_()
        association, slope = self._associate(stacked_product(place_x, place_y.transpose(1, 2)), own)
        moved = slope
        if self.fixed is not None:
            moved = torch.where(self.fixed[:, None, None], (slope - self.pull / batch) * own, slope)
        slope_x = self._write_tanh("shared_x", code_x, place_x, stacked_product(slope, place_y))
        slope_y = self._write_tanh("shared_y", code_y, place_y, stacked_product(moved.transpose(1, 2), place_x))

        weight = self.weights["reconstruction"]
        error_x, slope = self._reconstruct("decoder_x", code_x, x, weight, torch.ones_like(x[..., 0]) / batch)
        slope_x += self._slope_of_rows("decoder_x", slope)
        back = self.layers("decoder_y_1", code_y).relu_()
        error_y, slope = self._reconstruct("decoder_y_2", back, self.text, weight, counts / batch)
        slope = self._slope_of_rows("decoder_y_2", slope).mul_(back > 0)
        self.layers.write_slopes("decoder_y_1", code_y, slope)
        slope_y += self._slope_of_rows("decoder_y_1", slope)

        together, signs = torch.cat([code_x, code_y], dim=1), torch.cat([torch.ones_like(x[..., 0]), -counts], dim=1)
        discrepancy, slope = squared_discrepancy(together, signs / batch, self.kappa)
        slope *= self.weights["discrepancy"][:, None, None]
        slope_x += slope[:, :batch]
        slope_y += slope[:, batch:]

        self.layers.write_slopes("encoder_x", x, slope_x.mul_(code_x > 0))
        contraction = self._contract(code_x)
        slope_y.mul_(code_y > 0)
        self.layers.write_slopes("encoder_y_2", hidden, slope_y)
        slope = self._slope_of_rows("encoder_y_2", slope_y).mul_(hidden > 0)
        self.layers.write_slopes("encoder_y_1", self.text, slope)
        self._decay()
        return torch.stack([association, error_x + error_y, contraction, discrepancy])

    def _associate(self, scores: Tensor, own: Tensor) -> tuple[Tensor, Tensor]:
        """(members,) association losses, averaged over the batch, and their slope in the scores.

        scores, own: (members, batch, S); own is one at each sample's class. Classes that a member has not do not count.
        """
        value, slope = None, None
        margin, is_class = self.margin[:, None, None], self.is_class[:, None, :]
        for kind, chosen in self.associations.items():
            if chosen is not None:
                found, found_slope = _ASSOCIATIONS[kind](scores, own, is_class, margin)
                value = found if value is None else torch.where(chosen, found, value)
                slope = found_slope if slope is None else torch.where(chosen[:, None, None], found_slope, slope)
        return value / scores.shape[1], slope / scores.shape[1]

    def _write_tanh(self, layer: str, code: Tensor, place: Tensor, slope: Tensor) -> Tensor:
        """Write the gradients of a layer into the shared space from the slope of its places; gives the codes' slope."""
        slope = slope.mul_(1 - place.square())
        self.layers.write_slopes(layer, code, slope)
        return self._slope_of_rows(layer, slope)

    def _slope_of_rows(self, layer: str, slope: Tensor) -> Tensor:
        """What a layer was given, from the slope of what it gave."""
        return stacked_product(slope, self.layers.parameters[layer].transpose(1, 2))

    def _reconstruct(
        self, layer: str, inputs: Tensor, target: Tensor, weight: Tensor, share: Tensor
    ) -> tuple[Tensor, Tensor]:
        """(members,) errors of a decoder's last layer, whose gradients it writes, and the slope of what it gave.

        inputs: (members, rows, in), target: (members, rows, width), share: (members, rows), a row's part of the mean.
        """
        decoded = self.layers(layer, inputs)
        kept = None
        if self.without_relu is not None:
            kept = (decoded > 0) | self.without_relu
            decoded *= kept
        difference = decoded.sub_(target)
        share = (share / target.shape[2])[..., None]
        errors = (difference.square() * share).sum(dim=(1, 2))
        slope = difference.mul_(2 * share * weight[:, None, None])
        if kept is not None:
            slope *= kept
        self.layers.write_slopes(layer, inputs, slope)
        return errors, slope

    def _contract(self, code: Tensor) -> Tensor:
        """(members,) ‖∂h/∂x‖², averaged over the batch; adds its slope to the encoder's gradient.

        A ReLU's derivative is one or zero: a sample's norm is that of the columns of its active units.
        """
        matrix = self.layers.parameters["encoder_x"]
        active = (code > 0).to(code.dtype).mean(dim=1, keepdim=True)  # (members, 1, code)
        share = active * (2 * self.weights["contraction"])[:, None, None]
        self.layers.gradients["encoder_x"] += matrix * share
        return (matrix.square() * active).sum(dim=(1, 2))

    def _decay(self) -> None:
        for name, gradient in self.layers.gradients.items():
            if "_y" in name:
                gradient.addcmul_(self.layers.parameters[name], self.decay[:, None, None])


def squared_discrepancy(points: Tensor, weights: Tensor, kappa: Tensor) -> tuple[Tensor, Tensor]:
    """MMD² of two weighted samples with the kernel exp(−κ‖h − h'‖²), the biased estimate, and its slope in the points.

    points: (members, N, width), both samples' one after the other; weights: (members, N), those of the second sample
    negative, each side's sum to 1 and −1; kappa: (members,). Gives (members,) and (members, N, width).
    """
    squares = points.square().sum(dim=2)
    distance = squares[:, :, None] + squares[:, None] - 2 * stacked_product(points, points.transpose(1, 2))
    kernel = distance.clamp_min_(0).mul_(-kappa[:, None, None]).exp_()
    weighted = weights[..., None] * points
    # Σ_j k_ij w_j and Σ_j k_ij w_j h_j
    near = stacked_product(kernel, torch.cat([weights[..., None], weighted], dim=2))
    mass, pull = near[..., :1], near[..., 1:]
    slope = (mass * points - pull) * (weights * (-4 * kappa[:, None]))[..., None]
    return (weights * mass[..., 0]).sum(dim=1), slope


def _hinge(scores: Tensor, own: Tensor, is_class: Tensor, margin: Tensor) -> tuple[Tensor, Tensor]:
    """Σ_c max(0, margin + s_c − s_y) over the classes other than y, summed over the batch, and its slope.

    scores, own: (members, batch, S), own one at each sample's class; gives (members,) and (members, batch, S).
    """
    beyond = margin + scores - (scores * own).sum(dim=2, keepdim=True)
    wrong = (beyond > 0) & is_class & (own == 0)
    slope = wrong.to(scores.dtype)
    value = (beyond * slope).sum(dim=(1, 2))
    return value, slope - own * slope.sum(dim=2, keepdim=True)


def _binary(scores: Tensor, own: Tensor, is_class: Tensor, margin: Tensor) -> tuple[Tensor, Tensor]:
    """Σ_c −log σ(s_y) or −log(1 − σ(s_c)), summed over the batch, and its slope."""
    value = (softplus(scores) - own * scores) * is_class
    return value.sum(dim=(1, 2)), (scores.sigmoid() - own) * is_class


def _softmax(scores: Tensor, own: Tensor, is_class: Tensor, margin: Tensor) -> tuple[Tensor, Tensor]:
    """−log softmax(s)_y, summed over the batch, and its slope."""
    scores = scores.masked_fill(~is_class, -torch.inf)
    value = scores.logsumexp(dim=2) - torch.where(own > 0, scores, 0.0).sum(dim=2)
    return value.sum(dim=1), torch.softmax(scores, dim=2) - own


_ASSOCIATIONS = {"hinge": _hinge, "binary": _binary, "softmax": _softmax}
