"""SA-DVAE: semantic alignment by disentangled variational autoencoders (Li et al., ECCV 2024).

A two-head skeleton encoder gives z_x^r, which is aligned with the text latent z_y, and z_x^v, which holds what the text
does not say. An adversary D_T keeps the two independent. `losses` and `adversary_loss` are the paper's equations.

Where paper and code differ, the paper is the default and the preset `released` gives the code's choices. The default
gate and fit of C_u are ours: the paper's are the preset `papers-gate` and classifier_fit=adam. Errors, which Eq. 5
writes as squared norms, are means over elements as in the code, to whose scale Table 2's β belong. D_T's width and the
start (Xavier-uniform, gain 0.5) are the code's, but that each head starts by itself here, and both as one layer there.

As in the paper, D_T steps after the VAEs, on the latents of that same batch, and its turns are counted through all
epochs. discriminator=released: before the VAEs, on latents of both modalities drawn afresh, counted anew in each epoch.

C_u is fitted anew after each epoch: a softmax layer at the minimum of its L2-penalised cross-entropy. SynSE's 300 steps
of Adam (classifier_fit=adam) end before that: on UTD-MHAD's Shift-GCN features they recognise 54 % (ru5) and 33 % (ru9)
of the unseen clips in place of 61 and 44 (three seeds, twentieth epoch).
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Self

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import logsigmoid

from methods.accelerated.sadvae import AcceleratedSADVAE
from methods.latents import LatentConfig, LatentModel, check_classifier, drawn, with_classifier
from methods.models import check_seen_classifier, seen_classifiers
from methods.outputs import warn_of_relu
from methods.vae import LEAST_MOVEMENT, Latent, squared_error
from platform.errors import InputWarning
from platform.learning.batch import Batch
from platform.learning.stated import Network, StatedMethod, Trained
from platform.method import PAPERS_GATE, Member
from platform.population.draws import generator
from platform.population.layers import Layout, xavier_start
from platform.population.schedules import epoch_progress, ramp
from platform.zeroshot.classifiers import SoftmaxClassifier, fit_on_features
from platform.zeroshot.task import Task

# rows and columns of each layer's matrix, part by part; an encoder's columns are its means, then its log-variances
_LAYERS: Layout = {
    "encoder_x": (("features",), ("z_v", "z_r", "z_v", "z_r")),
    "encoder_y": (("text",), ("z_r", "z_r")),
    "decoder_x": (("z_v", "z_r"), ("features",)),
    "decoder_y": (("z_r",), ("text",)),
    "discriminator_1": (("z_v", "z_r"), ("hidden",)),
    "discriminator_2": (("hidden",), ("one",)),
}


class SADVAEConfig(LatentConfig):
    """Hyperparameters of SA-DVAE; the defaults are Table 2's for NTU-60, 55/5 split."""

    z_r: int = Field(160, ge=1, description="width of z_x^r and z_y (Table 2)")
    z_v: int = Field(8, ge=1, description="width of z_x^v (Table 2)")
    beta_x: float = Field(0.023, ge=0, description="weight of both skeleton KL terms (Eq. 2; Table 2)")
    beta_y: float = Field(0.011, ge=0, description="weight of the text KL term (Eq. 3; Table 2)")
    lambda_1: float = Field(
        1.0, ge=0, description="weight of the cross-alignment loss (Eq. 7; off in the first epoch, Section 4)"
    )
    lambda_2: float = Field(0.011, ge=0, description="weight of the total correlation penalty (Eq. 7; Table 2)")
    n_d: int = Field(5, ge=1, description="VAE steps for each step of the discriminator D_T (Table 2)")
    learning_rate: float = Field(3.39e-5, gt=0, description="of Adam, for the VAEs and D_T (Table 2)")
    batch_size: int = Field(32, ge=2, description="samples a step (Table 2)")
    epochs: int = Field(10, ge=1, description="passes over the training samples (Table 2)")
    alignment: Literal["fd+tc", "fd", "naive"] = Field(
        "fd+tc", description="fd: without D_T; naive: without D_T and the z_x^v head (the ablations of Tables 6 and 7)"
    )
    annealing: Literal["paper", "released"] = Field(
        "paper", description="Eq. 13, or the code's: text KL and D_T from epoch 3, cross-alignment late in each"
    )
    adversary: Literal["log", "probability"] = Field(
        "log", description="the encoder minimises Eq. 6, or the mean of D_T(z_x) (released)"
    )
    discriminator: Literal["paper", "released"] = Field(
        "paper", description="D_T's step: after the VAEs', on their latents, or as the code has it (see the module)"
    )
    seen_classifier: Literal["features", "latent", "logits", "logits-or-features"] = Field(
        "features",
        description="input of C_s: f_x (Eq. 10), z_x^r (Table 8), or none: the extractor's logits take its place "
        "(released), which the data set must bring, or f_x where it brings none",
    )
    combination: Literal["soft", "hard", "stacking"] = Field(
        "soft", description="p(y|x) of Eq. 11, a hard gate with a chosen threshold (released), or calibrated stacking"
    )


@dataclass(frozen=True)
class SADVAEModel(LatentModel):
    """A trained SA-DVAE of one member. classifiers: C_u as `unseen`, and C_s as `seen`, unless logits are given."""

    Config = SADVAEConfig

    def heads(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Means of z_x^r (N, z_r) and z_x^v (N, z_v). x: (N, D)."""
        mean = self.layer("encoder_x", x).chunk(2, dim=1)[0]
        z_v = mean.shape[1] - self.config.z_r
        return mean[:, z_v:], mean[:, :z_v]

    def latent(self, x: Tensor) -> Tensor:
        return self.heads(x)[0]

    def latents(self, x: Tensor) -> dict[str, Tensor]:
        z_r, z_v = self.heads(x)
        return {"z_r": z_r, "z_v": z_v} if z_v.shape[1] else {"z_r": z_r}

    def seen_scores(self, x: Tensor) -> Tensor:
        return super().seen_scores(self.latent(x) if self.config.seen_classifier == "latent" else x)

    def refitted(self) -> Self:
        return with_classifier([self], [[self.generated()]], "unseen")[0]

    def generated(self) -> Tensor:
        """(U, classifier_samples, z_r) latents of the unseen classes, from their text (Eq. 8)."""
        head = self.layer("encoder_y", self.semantics)[:, None].expand(-1, self.config.classifier_samples, -1)
        return drawn(head, self.config.noise == "sample", generator(self.seed, "latents", device=head.device))


class SADVAE(StatedMethod):
    """The method; see the module."""

    Config = SADVAEConfig
    Model = SADVAEModel
    accelerated = AcceleratedSADVAE
    least_movement = LEAST_MOVEMENT
    data_parallel = "shares"
    pack_by = ("batch_size", "output_relu", "adversary", "discriminator", "accelerate")
    loss_names = ("reconstruction", "cross_alignment", "kl_x", "kl_y", "total_correlation", "discriminator")
    occasional = frozenset({"total_correlation"})
    adversary = "discriminator"
    citation = """@inproceedings{li2024sadvae,
  title = {{SA-DVAE}: Improving Zero-Shot Skeleton-Based Action Recognition by Disentangled Variational Autoencoders},
  author = {Li, Sheng-Wei and Wei, Zi-Xiang and Chen, Wei-Jie and Yu, Yi-Hsin and Yang, Chih-Yuan and Hsu, Jane Yung-jen},
  booktitle = {European Conference on Computer Vision (ECCV)},
  year = {2024}
}"""  # noqa: E501
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        # Table 2, with SynSE's splits
        "ntu60-synse": {"learning_rate": 3.39e-5, "n_d": 5, "z_r": 160, "z_v": 8},
        "ntu120-synse": {"learning_rate": 3.48e-5, "n_d": 4, "z_r": 256, "z_v": 32},
        # Table 5, random splits
        "ntu60-random": {"learning_rate": 3.60e-5, "n_d": 7, "z_r": 224, "z_v": 16},
        "ntu120-random": {"learning_rate": 7.36e-5, "n_d": 12, "z_r": 176, "z_v": 20},
        "pku51-random": {"learning_rate": 3.07e-5, "n_d": 2, "z_r": 128, "z_v": 16, "batch_size": 64},
        # Table F, descriptions by a language model
        "ntu60-llm": {"learning_rate": 4.94e-5, "n_d": 4, "z_r": 96, "z_v": 8},
        "ntu120-llm": {"learning_rate": 2.13e-5, "n_d": 16, "z_r": 304, "z_v": 12, "batch_size": 24},
        "released": {  # the code's choices
            "annealing": "released",
            "beta_x": 0.07 / 3,
            "beta_y": 0.034 / 3,
            "lambda_2": 0.034 / 3,
            "noise": "sample",
            "adversary": "probability",
            "discriminator": "released",
            "output_relu": True,
            "classifier_relu": True,
            "seen_classifier": "logits-or-features",
            "classifier_fit": "adam",
            **PAPERS_GATE,
            "combination": "hard",
            "gate_chosen_by": "accuracy",
        },
        "papers-gate": {**PAPERS_GATE, "combination": "soft"},  # Eq. 11, to be joined with a table's preset
    }

    def layers(self, config: SADVAEConfig) -> Layout:
        return _LAYERS

    def widths(self, task: Task, config: SADVAEConfig) -> dict[str, int]:
        z_v = 0 if config.alignment == "naive" else config.z_v
        return {"z_v": z_v, "z_r": config.z_r, "hidden": max(1, (z_v + config.z_r) // 4), "one": 1}

    def start(self, member: Member, widths: Mapping[str, int]) -> dict[str, Tensor]:
        return xavier_start(_LAYERS, widths, 0.5, generator(member.seed, "weights"))

    def parts_of_noise(self, config: SADVAEConfig) -> dict[str, Sequence[str]]:
        fresh = () if config.discriminator == "paper" else ("discriminator x", "discriminator y")
        return {"": ("z_v", "z_r", "z_r"), **dict.fromkeys(fresh, ("z_v", "z_r"))}

    def encoded(self, network: Network, batch: Batch) -> tuple[Latent, Latent]:
        """z_x = z_x^v ⊕ z_x^r (before Eq. 2) and z_y, drawn from the posteriors of their encoders."""
        noise_y = batch.noise[..., -batch.widths["z_r"] :]
        noise_x = batch.noise[..., : -batch.widths["z_r"]]
        latent_x = Latent.sample(network("encoder_x", batch.x), noise_x)
        return latent_x, Latent.sample(network("encoder_y", batch.text), noise_y)

    def losses(self, network: Network, batch: Batch, encoded: tuple[Latent, Latent]) -> dict[str, Tensor]:
        """The terms of Eq. 7, each (…,), the ELBO's (Eq. 1 and 4) with its sign turned: all is minimised."""
        latent_x, latent_y = encoded
        z_v, z_r = latent_x.z.split([batch.widths["z_v"], batch.widths["z_r"]], dim=-1)

        def error(modality: str, latent: Tensor, target: Tensor) -> Tensor:
            decoded = network(f"decoder_{modality}", latent)
            return squared_error(decoded.relu() if batch.config.output_relu else decoded, target)

        terms = {
            "reconstruction": error("x", latent_x.z, batch.x) + error("y", latent_y.z, batch.text),  # Eq. 2 and 3
            "cross_alignment": error("x", torch.cat([z_v, latent_y.z], -1), batch.x)
            + error("y", z_r, batch.text),  # Eq. 5
            "kl_x": latent_x.divergence,  # Eq. 2, both heads
            "kl_y": latent_y.divergence,  # Eq. 3
        }
        if "total_correlation" in batch.wanted:  # Eq. 6
            together, apart = _discriminated(network, latent_x.z, batch.order, batch.widths["z_v"])
            log = batch.config.adversary == "log"
            terms["total_correlation"] = _log_likelihood(together, apart) if log else together.sigmoid().mean(dim=-1)
        return terms

    def adversary_loss(self, network: Network, batch: Batch, encoded: tuple[Latent, Latent]) -> Tensor:
        """D_T's cross-entropy: it maximises Eq. 6."""
        z, order = self.pairs(batch, encoded)
        return -0.5 * _log_likelihood(*_discriminated(network, z, order, batch.widths["z_v"]))

    def pairs(self, batch: Batch, encoded: tuple[Latent, Latent]) -> tuple[Tensor, Tensor]:
        """What D_T is trained on, (…, samples, z_v + z_r), and the order (…, samples) in which z_x^v is permuted.

        The batch's own z_x; released: z_x, then z_x^v beside z_y, drawn afresh, each permuted within itself.
        """
        latent_x, latent_y = encoded
        if not batch.beside:
            return latent_x.z.detach(), batch.order
        (noise_x, order_x), (noise_y, order_y) = batch.beside.values()
        head = torch.cat([latent_x.mean[..., : batch.widths["z_v"]], latent_y.mean], dim=-1)
        deviation = torch.cat([latent_x.deviation[..., : batch.widths["z_v"]], latent_y.deviation], dim=-1)
        z_x, z_y = latent_x.mean + latent_x.deviation * noise_x, head + deviation * noise_y
        order = torch.cat([order_x, order_y + order_x.shape[-1]], dim=-1)
        return torch.cat([z_x, z_y], dim=-2).detach(), order

    def adversary_first(self, config: SADVAEConfig) -> bool:
        return config.discriminator == "released"

    def weights(self, config: SADVAEConfig, epoch: int, steps: int) -> dict[str, Tensor]:
        """Eq. 7's, annealed by Eq. 13, or as the released code has them."""
        progress = epoch_progress(steps)
        on = torch.ones_like(progress)
        if config.annealing == "paper":
            first = second = ramp(progress, 1 / 3)
            cross, discriminator = on * (epoch > 0), on
        else:
            first = ramp(progress, 10 / 17)
            second = ramp(progress, 0.8) * (epoch > 1)
            cross, discriminator = (progress > 0.8).float(), second * config.lambda_2
        return {
            "reconstruction": on,
            "cross_alignment": config.lambda_1 * cross,
            "kl_x": config.beta_x * first,
            "kl_y": config.beta_y * second,
            "total_correlation": config.lambda_2 * second * (config.alignment == "fd+tc"),
            "discriminator": discriminator,
        }

    def turns(self, config: SADVAEConfig, epoch: int, steps: int) -> Tensor:
        before = epoch * steps if config.discriminator == "paper" else 0
        due = (before + torch.arange(steps) + 1) % config.n_d == 0
        return due & (config.alignment == "fd+tc")

    def models(self, trained: Sequence[Trained]) -> list[SADVAEModel]:
        models = [one.model(SADVAEModel) for one in trained]
        models = [replace(m, classifiers=_seen_classifier(m, one)) for m, one in zip(models, trained, strict=True)]
        return with_classifier(models, [[model.generated()] for model in models], "unseen")  # C_u (Eq. 8)

    def check(self, members: Sequence[Member]) -> None:
        """Raises InputError where logits are wanted and missing, or C_u has a ReLU and is not fitted by Adam."""
        for member in members:
            check_classifier(member.config)
            check_seen_classifier(member)
        if any(m.config.seen_classifier == "logits-or-features" and m.task.logits is None for m in members):
            warnings.warn("sadvae: the data folder has no logits, so C_s is fitted on the features", InputWarning, 2)
        warn_of_relu("sadvae", members)


method = SADVAE()


def _discriminated(network: Network, z: Tensor, order: Tensor, z_v: int) -> tuple[Tensor, Tensor]:
    """D_T's logits (…, samples) of z, and of z̃, whose first z_v numbers are another sample's by `order`."""
    other = z[..., :z_v].gather(-2, order[..., None].expand(*order.shape, z_v))
    pairs = torch.cat([z, torch.cat([other, z[..., z_v:]], dim=-1)], dim=-2)
    return network("discriminator_2", network("discriminator_1", pairs).relu())[..., 0].chunk(2, dim=-1)


def _log_likelihood(together: Tensor, apart: Tensor) -> Tensor:
    """L_T = log D_T(z_x) + log(1 − D_T(z̃_x)), a mean over the samples (Eq. 6)."""
    return (logsigmoid(together) + logsigmoid(-apart)).mean(dim=-1)


def _seen_classifier(model: SADVAEModel, trained: Trained) -> dict[str, SoftmaxClassifier]:
    """C_s; on f_x it depends on the task alone and is fitted once."""
    config, task = model.config, trained.task
    if config.seen_classifier == "latent":
        latent = model.latent(task.features)
        return {"seen": fit_on_features(latent, task.labels, len(task.seen), config.seen_classifier_c)}
    given = config.seen_classifier.startswith("logits") and task.logits is not None
    return {} if given else seen_classifiers(trained.member, task.features)
