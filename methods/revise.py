"""ReViSE: robust visual-semantic embeddings (Hubert Tsai, Huang and Salakhutdinov, ICCV 2017).

An autoencoder for the features, contractive, and a plain one for the class text. The distributions of their codes are
brought together by the Maximum Mean Discrepancy (MMD), and from each code a second layer leads to a space in which a
sample's product with its own class should be the largest (association loss).

The paper was at hand only in part, so sizes and constants are those of SynSE's released code, from which both skeleton
papers' numbers for ReViSE come. What was chosen, and why:

- Sizes (code 100, shared space 50, a hidden layer of 512 for the text, as for 1024-d text there, and none for the
  features), ReLU codes, tanh in the shared space, PyTorch's own start, Adam with rate 1e-4 and weight decay on the
  text's layers, batches of 1024, 300 epochs: SynSE's code. Its learning rate also falls when the accuracy on unseen
  test classes does not rise; that reads the test set and is left out.
- Association loss: SynSE's code has a margin of 0.3 to every other class, where the paper, by a comment in that code,
  has a binary prediction loss: association=binary, a logistic loss a class. The softmax's cross-entropy is there too.
  The code's hinge sums over the sample's own class, too. The value of that term, the margin, is left out here; its
  gradient, which is not zero only where the other classes' text is detached (negatives=fixed), is kept (`hinge_loss`).
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
from functools import partial
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import cross_entropy, one_hot, softplus

from methods.compatibility import CompatibilityConfig, CompatibilityMethod, CompatibilityModel, hinge_loss
from methods.models import SYNSES_GATE
from methods.outputs import warn_of_relu
from platform.errors import InputError
from platform.learning.batch import Batch
from platform.learning.stated import Network
from platform.method import Member
from platform.population.draws import generator
from platform.population.layers import Layout, stacked_product, uniform_start
from platform.zeroshot.task import Task

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


class ReViSE(CompatibilityMethod):
    """The method; see the module."""

    Config = ReViSEConfig
    Model = ReViSEModel
    data_parallel = "shares"
    pack_by = ("batch_size",)
    loss_names = ("association", "reconstruction", "contraction", "discrepancy")
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

    def layers(self, config: ReViSEConfig) -> Layout:
        return _LAYERS

    def widths(self, task: Task, config: ReViSEConfig) -> dict[str, int]:
        return {name: getattr(config, name) for name in ("code", "shared", "hidden")}

    def start(self, member: Member, widths: Mapping[str, int]) -> dict[str, Tensor]:
        return uniform_start(_LAYERS, widths, generator(member.seed, "weights"))

    def weights(self, config: ReViSEConfig, epoch: int, steps: int) -> dict[str, Tensor]:
        fixed = {name: getattr(config, name) for name in ("reconstruction", "contraction", "discrepancy")}
        return {name: torch.full((steps,), value) for name, value in {"association": 1.0, **fixed}.items()}

    def decay(self, config: ReViSEConfig, layer: str) -> float:
        return config.text_decay if "_y" in layer else 0.0

    def losses(self, network: Network, batch: Batch, encoded: None) -> dict[str, Tensor]:
        """Each term (…,). Text is encoded once a class, and counts as often as the batch has it."""
        x = batch.fields.chosen("log_features", {True: lambda: batch.x.clamp_min(0).log1p(), False: lambda: batch.x})
        text, samples = batch.seen.text, x.shape[-2]
        own = one_hot(batch.labels, text.shape[-2]).to(x.dtype)  # (…, batch, S)
        counts = own.sum(dim=-2)  # (…, S)
        h_x = network("encoder_x", x).relu()
        h_y = network("encoder_y_2", network("encoder_y_1", text).relu()).relu()

        def error(layer: str, code: Tensor, target: Tensor) -> Tensor:
            """(…, rows) mean squared errors of a decoder's last layer."""
            decoded = network(layer, code)
            decoded = batch.fields.chosen("output_relu", {True: decoded.relu, False: decoded})
            return (decoded - target).square().mean(dim=-1)

        of_text = error("decoder_y_2", network("decoder_y_1", h_y).relu(), text)
        shares = torch.cat([torch.ones_like(h_x[..., 0]), -counts], dim=-1) / samples
        # ‖∂h/∂x‖² of ReLU units: the squared columns of those that are active
        columns = network.weights["encoder_x"].square().sum(dim=-2)
        return {
            "association": _association(network("shared_x", h_x).tanh(), network("shared_y", h_y).tanh(), own, batch),
            "reconstruction": error("decoder_x", h_x, x).mean(dim=-1) + (of_text * counts).sum(dim=-1) / samples,
            "contraction": ((h_x > 0).to(x.dtype).mean(dim=-2) * columns).sum(dim=-1),
            "discrepancy": squared_discrepancy(torch.cat([h_x, h_y], dim=-2), shares, batch.fields.number("kappa")),
        }

    def check(self, members: Sequence[Member]) -> None:
        """Raises InputError where logits are wanted and missing, or a logarithm is wanted of negative features."""
        super().check(members)
        for member in members:
            if member.config.log_features and (least := member.task.features.min().item()) < 0:
                raise InputError(f"log_features=true: some features are negative ({least:g}); try --normalise none")
        warn_of_relu("revise", members)


method = ReViSE()


def squared_discrepancy(points: Tensor, shares: Tensor, kappa: Tensor) -> Tensor:
    """(…,) MMD² of two weighted samples with the kernel exp(−κ‖h − h'‖²), the biased estimate.

    points: (…, N, width), both samples' one after the other; shares: (…, N), those of the second sample negative, each
    side's sum to 1 and −1; kappa: (…,).
    """
    squares = points.square().sum(dim=-1)
    distance = squares[..., :, None] + squares[..., None, :] - 2 * stacked_product(points, points.mT)
    kernel = (-kappa[..., None, None] * distance.clamp_min(0)).exp()
    return (shares[..., :, None] * shares[..., None, :] * kernel).sum(dim=(-2, -1))


def _association(places: Tensor, classes: Tensor, own: Tensor, batch: Batch) -> Tensor:
    """(…,) association losses, averaged over the batch.

    places: (…, batch, shared), classes: (…, S, shared), own: (…, batch, S), one at each sample's class.
    """
    exist = batch.seen.exist[..., None, :]

    def scores() -> Tensor:
        """(…, batch, S): the own class's product is of its text, which moves, the others' of text that may not."""
        others = batch.fields.chosen("negatives", {"moved": classes, "fixed": classes.detach})
        right = (places * stacked_product(own, classes)).sum(dim=-1, keepdim=True)
        return torch.where(own > 0, right, stacked_product(places, others.mT))

    def binary() -> Tensor:
        """Σ_c −log σ(s_y) or −log(1 − σ(s_c))."""
        s = scores()
        return torch.where(exist, softplus(s) - own * s, 0.0).sum(dim=-1).mean(dim=-1)

    def softmax() -> Tensor:
        """−log softmax(s)_y."""
        s, labels = scores().masked_fill(~exist, -torch.inf), batch.labels
        return cross_entropy(s.flatten(0, -2), labels.flatten(), reduction="none").view(labels.shape).mean(dim=-1)

    hinge = partial(hinge_loss, places, classes, own, batch)
    return batch.fields.chosen("association", {"hinge": hinge, "binary": binary, "softmax": softmax})
