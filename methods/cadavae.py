"""CADA-VAE: cross- and distribution-aligned variational autoencoders (Schönfeld et al., CVPR 2019).

One autoencoder for the features and one for the class text, with one hidden layer in each network. Their latents are
aligned by decoding each from the other's (cross-alignment, L_CA) and by the 2-Wasserstein distance of the two normal
distributions (distribution alignment, L_DA): L = L_VAE + γ L_CA + δ L_DA, where L_VAE's KL terms have the weight β. All
warm up over the epochs.

Sizes, schedules and what the paper leaves open are the released code's: layers start Xavier-uniform with gain 0.5, Adam
is AMSGrad, and losses are sums over elements (means over the batch here, which Adam cannot tell from the code's sums).
Latents are drawn as the code draws them too, with σ = exp(log σ²) and by one normal number a sample: the weights of its
losses were found with that. With the paper's σ = exp(½ log σ²) and a number for each dimension (preset `paper`), the
same weights leave the latents almost nothing of the features: on 2048 dimensions under min-max, AwA falls from 34 to 22
%. A warm-up's start and end are shares of the epochs.

The classifiers are trained as in the code, by passes in batches of 32. How many is a number for each of its data sets,
found on validation classes (21 to 33 for the one over all classes, 22 to 39 for the unseen ones alone), and it matters:
too few leave seen samples to the unseen classes, which have twice as many latents, and too many may do the opposite.
classifier_fit=penalised depends on neither.

Its GZSL is combination=joint: one classifier over all classes, trained on latents of the seen classes' features and of
the unseen classes' text. SynSE and SA-DVAE put it behind SynSE's gate to compare; the other combinations are that.

The presets `ntu60-synse` and `ntu120-synse` have the sizes and losses of SynSE's comparison (no distribution alignment,
no hidden layers, mean squared errors). That code has plain Adam and anneals in SynSE's cycles; this module does not.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any, ClassVar, Literal, Self

import torch
from pydantic import Field
from torch import Tensor

from methods.accelerated.cadavae import AcceleratedCADAVAE
from methods.latents import LatentModel, drawn, rows_of_classes, with_classifier
from methods.models import SYNSES_GATE, SeenClassifierConfig, check_seen_classifier, seen_classifiers
from methods.vae import Latent, wasserstein
from platform.errors import InputError
from platform.learning.batch import Batch
from platform.learning.stated import AcceleratedConfig, Network, StatedMethod, Trained
from platform.method import Member
from platform.population.draws import generator
from platform.population.layers import Layout, xavier_start
from platform.population.schedules import warm_up
from platform.zeroshot.classifiers import Adam, Penalised, SoftmaxClassifier, Training
from platform.zeroshot.task import Task

_WARM_UPS = ("beta", "cross", "distance")
_COMPARISON = {  # SynSE's, where it is the same for all data sets
    "hidden": False,
    "reconstruction": "mean",
    "distribution_alignment": False,
    "beta": 0.1 * 700 / 3000,
    "cross": 1.0,
    "deviation": "paper",
    "learning_rate": 1e-4,
    "batch_size": 64,
    "classifier_samples": 500,
    "classifier_passes": 300,
    "classifier_batch_size": 0,
    "classifier_beta_1": 0.9,
    **SYNSES_GATE,
}


class CADAVAEConfig(SeenClassifierConfig, AcceleratedConfig):
    """Hyperparameters of CADA-VAE; the defaults are its released code's."""

    z: int = Field(64, ge=1, description="width of the latents (released)")
    hidden: bool = Field(True, description="one hidden layer in each network, or none (SynSE's comparison)")
    encoder_x: int = Field(1560, ge=1, description="width of the features' encoder's hidden layer (released)")
    decoder_x: int = Field(1660, ge=1, description="width of the features' decoder's hidden layer (released)")
    encoder_y: int = Field(1450, ge=1, description="width of the text encoder's hidden layer (released)")
    decoder_y: int = Field(665, ge=1, description="width of the text decoder's hidden layer (released)")
    reconstruction: Literal["l1", "l2", "mean"] = Field(
        "l1", description="errors: absolute or squared, summed over elements, or the mean of the squared (SynSE)"
    )
    cross_alignment: bool = Field(True, description="decode each modality from the other's latent (L_CA)")
    distribution_alignment: bool = Field(True, description="the 2-Wasserstein distance of both latents (L_DA)")
    beta: float = Field(0.25, ge=0, description="weight of the KL terms after its warm-up (released)")
    beta_start: float = Field(0.0, ge=0, le=1, description="where its warm-up starts, a share of the epochs (epoch 0)")
    beta_end: float = Field(0.93, ge=0, le=1, description="where its warm-up ends, a share of the epochs (epoch 93)")
    cross: float = Field(2.37, ge=0, description="γ, weight of L_CA after its warm-up (released)")
    cross_start: float = Field(0.21, ge=0, le=1, description="where it starts, a share of the epochs (epoch 21)")
    cross_end: float = Field(0.75, ge=0, le=1, description="where it ends, a share of the epochs (epoch 75)")
    distance: float = Field(8.13, ge=0, description="δ, weight of L_DA after its warm-up (released)")
    distance_start: float = Field(0.06, ge=0, le=1, description="where it starts, a share of the epochs (epoch 6)")
    distance_end: float = Field(0.22, ge=0, le=1, description="where it ends, a share of the epochs (epoch 22)")
    learning_rate: float = Field(1.5e-4, gt=0, description="of Adam, with AMSGrad (released)")
    batch_size: int = Field(50, ge=2, description="samples a step (released)")
    epochs: int = Field(100, ge=1, description="passes over the training samples (released)")
    deviation: Literal["paper", "released"] = Field(
        "released", description="σ of a drawn latent: exp(½ log σ²), or exp(log σ²) as the released code has it"
    )
    noise: Literal["dimension", "sample"] = Field(
        "sample", description="a normal draw for each latent dimension, or one for all of a latent (released)"
    )
    classifier_samples: int = Field(200, ge=1, description="latents of its text for each unseen class (released)")
    classifier_fit: Literal["adam", "penalised"] = Field(
        "adam", description="classifiers: passes of Adam (released), or the layer of least penalised loss (ours)"
    )
    classifier_passes: int = Field(25, ge=1, description="over the unseen classes' latents (released, AwA1; 22 to 39)")
    joint_passes: int = Field(33, ge=1, description="over those of all classes (released, AwA1; 21 to 33 elsewhere)")
    classifier_batch_size: int = Field(32, ge=0, description="latents a step (released); 0: all of them (SynSE)")
    classifier_learning_rate: float = Field(1e-3, gt=0, description="of the classifiers' Adam (released)")
    classifier_beta_1: float = Field(0.5, ge=0, lt=1, description="of the classifiers' Adam (released)")
    classifier_c: float = Field(
        0.1, gt=0, description="inverse L2 penalty of the latter on standardised latents (scikit-learn's C; ours)"
    )
    combination: Literal["joint", "hard", "soft", "stacking"] = Field(
        "joint", description="one classifier over all classes (its own), a gate (SynSE's comparison) or stacking"
    )
    joint_seen_samples: int = Field(200, ge=1, description="latents a seen class for combination=joint (released)")
    joint_unseen_samples: int = Field(400, ge=1, description="latents an unseen class for the same (released)")


@dataclass(frozen=True)
class CADAVAEModel(LatentModel):
    """A trained CADA-VAE of one member.

    kept: under combination=joint, `seen_latents` (S, joint_seen_samples, z) of the seen classes' features. On these and
    on the unseen classes' text the classifier over all classes is trained, once it is asked for.
    """

    Config = CADAVAEConfig

    def latent(self, x: Tensor) -> Tensor:
        return self.encoded("x", x).chunk(2, dim=-1)[0]

    def encoded(self, modality: Literal["x", "y"], inputs: Tensor) -> Tensor:
        """(…, 2·z) means and log-variances of features `x` or class text `y`."""
        return _through(self.layer, f"encoder_{modality}", inputs, self.config)

    @cached_property
    def joint_classifier(self) -> SoftmaxClassifier | None:
        if "joint" in self.classifiers or "seen_latents" not in self.kept:
            return self.classifiers.get("joint")
        blocks = [self.kept["seen_latents"], _of_text(self, self.config.joint_unseen_samples, "joint latents")]
        training = _training(self.config, self.config.joint_passes)
        return with_classifier([self], [blocks], "joint", [training])[0].classifiers["joint"]

    def all_classifiers(self) -> Mapping[str, SoftmaxClassifier]:
        return self.classifiers | ({"joint": self.joint_classifier} if self.joint_classifier else {})

    def refitted(self) -> Self:
        kept = {name: own for name, own in self.classifiers.items() if name != "joint"}
        return _with_classifiers([replace(self, classifiers=kept)])[0]


class CADAVAE(StatedMethod):
    """The method; see the module."""

    Config = CADAVAEConfig
    Model = CADAVAEModel
    least_movement = 0.5  # less than of linear encoders (`methods.vae.LEAST_MOVEMENT`): measured
    data_parallel = "equal"
    accelerated = AcceleratedCADAVAE
    pack_by = ("batch_size", "hidden", "accelerate")
    loss_names = ("reconstruction", "cross_reconstruction", "kl_x", "kl_y", "distance")
    occasional = frozenset({"cross_reconstruction", "distance"})
    amsgrad = True
    citation = """@inproceedings{schonfeld2019cadavae,
  title = {Generalized Zero- and Few-Shot Learning via Aligned Variational Autoencoders},
  author = {Sch{\\"o}nfeld, Edgar and Ebrahimi, Sayna and Sinha, Samarth and Darrell, Trevor and Akata, Zeynep},
  booktitle = {IEEE/CVF Conference on Computer Vision and Pattern Recognition (CVPR)},
  year = {2019}
}"""
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {"deviation": "paper", "noise": "dimension"},
        "ntu60-synse": _COMPARISON | {"z": 100},
        "ntu120-synse": _COMPARISON | {"z": 200, "beta": 0.1 * 900 / 3000},
    }

    def layers(self, config: CADAVAEConfig) -> Layout:
        layers = {}
        for modality, data in (("x", "features"), ("y", "text")):
            for network, given, made in (("encoder", data, ("z", "z")), ("decoder", "z", (data,))):
                name = f"{network}_{modality}"
                if config.hidden:
                    layers[f"{name}_1"] = ((given,), (name,))
                layers[f"{name}_2"] = ((name if config.hidden else given,), made)
        return layers

    def widths(self, task: Task, config: CADAVAEConfig) -> dict[str, int]:
        hidden = {name: getattr(config, name) for name in ("encoder_x", "decoder_x", "encoder_y", "decoder_y")}
        return {"z": config.z, **hidden}

    def start(self, member: Member, widths: Mapping[str, int]) -> dict[str, Tensor]:
        return xavier_start(self.layers(member.config), widths, 0.5, generator(member.seed, "weights"))

    def parts_of_noise(self, config: CADAVAEConfig) -> dict[str, Sequence[str]]:
        return {"": ("z", "z")}

    def encoded(self, network: Network, batch: Batch) -> tuple[Latent, Latent]:
        def drawn(modality: str, inputs: Tensor, noise: Tensor) -> Latent:
            latent = Latent.sample(_through(network, f"encoder_{modality}", inputs, batch.config), noise)
            released = partial(torch.addcmul, latent.mean, latent.variance, noise)  # σ = exp(log σ²)
            return replace(latent, z=batch.fields.chosen("deviation", {"paper": latent.z, "released": released}))

        noise_x, noise_y = batch.noise.chunk(2, dim=-1)
        return drawn("x", batch.x, noise_x), drawn("y", batch.text, noise_y)

    def losses(self, network: Network, batch: Batch, encoded: tuple[Latent, Latent]) -> dict[str, Tensor]:
        """The terms of L = L_VAE + γ L_CA + δ L_DA, each (…,)."""
        x, y = encoded

        def error(modality: str, latent: Tensor, target: Tensor) -> Tensor:
            difference = _through(network, f"decoder_{modality}", latent, batch.config) - target
            cases = {
                "l1": lambda: difference.abs().sum(dim=-1).mean(dim=-1),
                "l2": lambda: difference.square().sum(dim=-1).mean(dim=-1),
                "mean": lambda: difference.square().mean(dim=(-2, -1)),
            }
            return batch.fields.chosen("reconstruction", cases)

        terms = {
            "reconstruction": error("x", x.z, batch.x) + error("y", y.z, batch.text),  # L_VAE
            "kl_x": x.divergence,
            "kl_y": y.divergence,
        }
        if "cross_reconstruction" in batch.wanted:  # L_CA
            terms["cross_reconstruction"] = error("x", y.z, batch.x) + error("y", x.z, batch.text)
        if "distance" in batch.wanted:  # L_DA
            terms["distance"] = wasserstein(x, y)
        return terms

    def weights(self, config: CADAVAEConfig, epoch: int, steps: int) -> dict[str, Tensor]:
        """β, γ and δ, which warm up over the epochs."""
        on = {"beta": True, "cross": config.cross_alignment, "distance": config.distribution_alignment}

        def warmed(name: str) -> float:
            start, end = getattr(config, f"{name}_start"), getattr(config, f"{name}_end")
            return on[name] * getattr(config, name) * warm_up(epoch / config.epochs, start, end)

        beta, gamma, delta = map(warmed, _WARM_UPS)
        values = zip(self.loss_names, (1.0, gamma, beta, beta, delta), strict=True)
        return {name: torch.full((steps,), float(value)) for name, value in values}

    def models(self, trained: Sequence[Trained]) -> list[CADAVAEModel]:
        models = []
        for one in trained:
            model = replace(one.model(CADAVAEModel), classifiers=seen_classifiers(one.member, one.task.features))
            if model.config.combination == "joint":
                model = replace(model, kept={"seen_latents": _of_features(model, one.task)})
            models.append(model)
        return _with_classifiers(models)

    def check(self, members: Sequence[Member]) -> None:
        """Raises InputError where given logits are wanted and there are none, or a warm-up ends before it starts."""
        for member in members:
            check_seen_classifier(member)
            for name in _WARM_UPS:
                start, end = (getattr(member.config, f"{name}_{at}") for at in ("start", "end"))
                if end < start:
                    raise InputError(f"{name}_end={end}: its warm-up starts at {start}; must not be below that")


method = CADAVAE()


def _through(network: Network, name: str, inputs: Tensor, config: CADAVAEConfig) -> Tensor:
    """A network's output, by its hidden layer where it has one."""
    hidden = network(f"{name}_1", inputs).relu() if config.hidden else inputs
    return network(f"{name}_2", hidden)


def _with_classifiers(models: Sequence[CADAVAEModel]) -> list[CADAVAEModel]:
    latents = [[_of_text(model, model.config.classifier_samples, "latents")] for model in models]
    trainings = [_training(model.config, model.config.classifier_passes) for model in models]
    return with_classifier(models, latents, "unseen", trainings)


def _training(config: CADAVAEConfig, passes: int) -> Training:
    if config.classifier_fit == "penalised":
        return Penalised(config.classifier_c)
    betas, batch_size = (config.classifier_beta_1, 0.999), config.classifier_batch_size or None
    return Adam(passes, config.classifier_learning_rate, batch_size, betas, gain=0.5)


def _of_text(model: CADAVAEModel, samples: int, purpose: str) -> Tensor:
    """(U, samples, z) of the unseen classes' text."""
    head = model.encoded("y", model.semantics)[:, None].expand(-1, samples, -1)
    return _drawn(model, head, generator(model.seed, purpose, device=head.device))


def _of_features(model: CADAVAEModel, task: Task) -> Tensor:
    """(S, joint_seen_samples, z) of training samples, class by class (the code repeats a class's first ones)."""
    draw = generator(model.seed, "seen latents", device=task.features.device)
    rows = rows_of_classes(task.labels, len(task.seen), model.config.joint_seen_samples, draw)
    return _drawn(model, model.encoded("x", task.features)[rows], draw)


def _drawn(model: CADAVAEModel, head: Tensor, draw: torch.Generator) -> Tensor:
    if model.config.deviation == "released":
        mean, logvar = head.chunk(2, dim=-1)
        head = torch.cat([mean, 2 * logvar], dim=-1)  # whose deviation is the variance
    return drawn(head, model.config.noise == "sample", draw)
