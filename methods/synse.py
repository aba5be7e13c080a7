"""SynSE: syntactically guided generative embeddings (Gupta et al., ICIP 2021).

A variational autoencoder for the skeleton features, one for the verb of each class and one for its noun. The halves of
the skeleton latent, z_s,v and z_s,n, are aligned with the latents z_v and z_n by cross-modal reconstruction, which is
switched on late in each cycle of an annealing schedule: `losses`.

The class semantics hold the verb's vector and then the noun's: `--text verb+noun --combine concatenate`, the default
here. Each is brought to length 1, as the released code does. With parts=single, one autoencoder takes the whole text.

An epoch is one cycle, after each of which the released code tests its model too; what the paper and the code call an
epoch is a step, on one random batch. Where the two differ, the paper is the default, and the presets `released-…` give
the code's choices. The paper's squared norms (Eq. 3) are sums over elements; the code has means, with a smaller β.

f_u is a softmax layer at the minimum of its L2-penalised cross-entropy; the paper takes 300 steps of Adam instead, and
so do its presets (classifier_fit=adam).

The gates, stacking, and CADA-VAE's way without a gate (Table 2) are values of `combination`. The former join f_s and
f_u, and the protocol fits them. The latter is a third classifier, over all classes at once, which the model brings:
`SynSEModel.sides` gives the two blocks of its log-probabilities, and the protocol joins them as they are. So
validation, saved models and ensembles treat it as any other, and zero-shot accuracy stays that of f_u.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Self

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import normalize

from methods.accelerated.synse import AcceleratedSynSE
from methods.latents import (
    LatentConfig,
    LatentModel,
    check_classifier,
    drawn,
    rows_of_classes,
    with_classifier,
)
from methods.models import SYNSES_GATE, check_seen_classifier, seen_classifiers
from methods.outputs import warn_of_relu
from methods.vae import LEAST_MOVEMENT, Latent, squared_error
from platform.errors import InputError
from platform.learning.batch import Batch
from platform.learning.stated import Network, StatedMethod, Trained
from platform.method import Member
from platform.population.draws import generator
from platform.population.layers import Layout, xavier_start
from platform.population.schedules import rising, switched_on
from platform.zeroshot.task import Task

_PARTS = {"verb+noun": ("verb", "noun"), "single": ("text",)}
_PAPER = {"classifier_fit": "adam", **SYNSES_GATE}  # Section 2.6's for all data sets
_RELEASED = {  # the code's choices for all data sets
    **_PAPER,
    "beta_rate": 0.1 / 3000,
    "beta_y_first_cycle": 2,
    "reconstruction": "mean",
    "noise": "sample",
    "output_relu": True,
    "classifier_relu": True,
}


class SynSEConfig(LatentConfig):
    """Hyperparameters of SynSE; the defaults are Section 2.6's for NTU-60, 55/5 split."""

    parts: Literal["verb+noun", "single"] = Field(
        "verb+noun", description="halves of the class text with a VAE each, or the whole text in one VAE"
    )
    z_s: int = Field(
        100, ge=2, multiple_of=2, description="width of the skeleton latent; a part of speech has half of it (2.6)"
    )
    alpha: float = Field(1.0, ge=0, description="weight of the cross-modal reconstruction once it is on (Eq. 4; 2.6)")
    beta_rate: float = Field(0.0021, ge=0, description="what a step adds to the weight of the KL terms (Eq. 2; 2.6)")
    cycle: int = Field(1700, ge=1, description="steps of a cycle, here an epoch (2.6)")
    beta_start: int = Field(1000, ge=0, description="step of a cycle from which β rises (2.6)")
    beta_y_start: int = Field(
        1000, ge=0, description="the same for the text's β (2.6 has one β; released: where α is switched on)"
    )
    beta_y_first_cycle: int = Field(0, ge=0, description="the text's β is zero before this cycle (released: 2)")
    alpha_start: int = Field(1400, ge=0, description="step of a cycle after which α is on (2.6)")
    reconstruction: Literal["sum", "mean"] = Field(
        "sum", description="errors as squared norms (Eq. 3), or their mean over elements (released)"
    )
    learning_rate: float = Field(1e-4, gt=0, description="of Adam, for the VAEs (2.6)")
    batch_size: int = Field(64, ge=2, description="samples a step (2.6)")
    epochs: int = Field(10, ge=1, description="cycles (`multiple`, 2.6; ten in the released code)")
    combination: Literal["hard", "soft", "stacking", "joint"] = Field(
        "soft",
        description="a hard gate with a chosen threshold (2.6), a soft one (Eq. 5; Table 2), calibrated stacking, or "
        "joint: no gate, one classifier over all classes (CADA-VAE's GZSL, Table 2); soft by our comparison of rules",
    )
    joint_samples: int = Field(
        200, ge=1, description="latents of its skeletons for each seen class, under combination=joint (CADA-VAE's code)"
    )


@dataclass(frozen=True)
class SynSEModel(LatentModel):
    """A trained SynSE of one member. classifiers: f_u as `unseen`, f_s as `seen`.

    kept: under combination=joint, `seen_latents` (S, joint_samples, z_s), on which its classifier is fitted again.
    """

    Config = SynSEConfig

    def latent(self, x: Tensor) -> Tensor:
        """(N, z_s) means of the skeleton latent, the verb's half first. x: (N, D)."""
        return self.layer("encoder_s", x).chunk(2, dim=-1)[0]

    def latents(self, x: Tensor) -> dict[str, Tensor]:
        if self.config.parts == "single":
            return super().latents(x)
        return dict(zip(("z_verb", "z_noun"), self.latent(x).chunk(2, dim=1), strict=True))

    def refitted(self) -> Self:
        return _with_classifiers([self])[0]

    def generated(self) -> Tensor:
        """(U, classifier_samples, z_s) latents of the unseen classes, each of its parts from that part's encoder."""
        config, parts = self.config, _PARTS[self.config.parts]
        draw = generator(self.seed, "latents", device=self.semantics.device)
        latents = []
        for part, text in zip(parts, _in_parts(self.semantics, parts).chunk(len(parts), dim=1), strict=True):
            head = self.layer(f"encoder_{part}", text)[:, None].expand(-1, config.classifier_samples, -1)
            latents.append(drawn(head, config.noise == "sample", draw))
        return torch.cat(latents, dim=-1)

    def latents_of(self, task: Task) -> Tensor:
        """(S, joint_samples, z_s) latents of training skeletons, class by class."""
        draw = generator(self.seed, "seen latents", device=task.features.device)
        rows = rows_of_classes(task.labels, len(task.seen), self.config.joint_samples, draw)
        return drawn(self.layer("encoder_s", task.features[rows]), self.config.noise == "sample", draw)


class SynSE(StatedMethod):
    """The method; see the module."""

    Config = SynSEConfig
    Model = SynSEModel
    accelerated = AcceleratedSynSE
    least_movement = LEAST_MOVEMENT
    data_parallel = "equal"
    pack_by = ("batch_size", "parts", "accelerate")
    loss_names = ("reconstruction", "cross_reconstruction", "kl_s", "kl_y")
    occasional = frozenset({"cross_reconstruction"})
    any_text = "parts=single"
    citation = """@inproceedings{gupta2021synse,
  title = {Syntactically Guided Generative Embeddings for Zero-Shot Skeleton Action Recognition},
  author = {Gupta, Pranay and Sharma, Divyanshu and Sarvadevabhatla, Ravi Kiran},
  booktitle = {IEEE International Conference on Image Processing (ICIP)},
  year = {2021}
}"""
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        # Section 2.6
        "ntu60-55_5": _PAPER | {"z_s": 100, "cycle": 1700, "alpha_start": 1400},
        "ntu60-48_12": _PAPER | {"z_s": 200, "cycle": 1700, "alpha_start": 1400},
        "ntu120-110_10": _PAPER | {"z_s": 200, "cycle": 1900, "alpha_start": 1500},
        "ntu120-96_24": _PAPER | {"z_s": 200, "cycle": 1900, "alpha_start": 1500},
        # the released code's choices
        "released-ntu60-55_5": _RELEASED | {"z_s": 100, "cycle": 1700, "alpha_start": 1400, "beta_y_start": 1400},
        "released-ntu60-48_12": _RELEASED | {"z_s": 100, "cycle": 1900, "alpha_start": 1500, "beta_y_start": 1500},
        "released-ntu120-110_10": _RELEASED | {"z_s": 200, "cycle": 1900, "alpha_start": 1500, "beta_y_start": 1500},
        "released-ntu120-96_24": _RELEASED | {"z_s": 200, "cycle": 1900, "alpha_start": 1500, "beta_y_start": 1500},
    }

    def text_parts(self, config: SynSEConfig) -> tuple[str, ...]:
        return _PARTS["verb+noun"] if config.parts == "verb+noun" else ()

    def steps(self, config: SynSEConfig, samples: int) -> int:
        return config.epochs * config.cycle

    def steps_of_epoch(self, config: SynSEConfig) -> int:
        return config.cycle

    def layers(self, config: SynSEConfig) -> Layout:
        """An encoder's columns are its means, then its log-variances."""
        parts = _PARTS[config.parts]
        z_s = ("z",) * len(parts)
        layers = {"encoder_s": (("features",), z_s * 2), "decoder_s": (z_s, ("features",))}
        for part in parts:
            layers |= {f"encoder_{part}": (("text",), ("z", "z")), f"decoder_{part}": (("z",), ("text",))}
        return layers

    def widths(self, task: Task, config: SynSEConfig) -> dict[str, int]:
        parts = len(_PARTS[config.parts])
        return {"text": task.semantics.shape[1] // parts, "z": config.z_s // parts}

    def start(self, member: Member, widths: Mapping[str, int]) -> dict[str, Tensor]:
        """Means and log-variances start by themselves, each with all of its parts."""
        layers = self.layers(member.config)
        layers |= {"encoder_s": (("features",), ("z_s", "z_s"))}
        return xavier_start(layers, {**widths, "z_s": member.config.z_s}, 0.5, generator(member.seed, "weights"))

    def parts_of_noise(self, config: SynSEConfig) -> dict[str, Sequence[str | tuple[str, ...]]]:
        """Of the skeleton's latent, and then of each part's."""
        parts = _PARTS[config.parts]
        return {"": [("z",) * len(parts), *("z" for _ in parts)]}

    def encoded(self, network: Network, batch: Batch) -> tuple[Latent, list[Latent]]:
        """z_s = <z_s,v, z_s,n>, and z_v and z_n of the parts of the text."""
        parts, z = _PARTS[batch.config.parts], batch.widths["z"]
        noise_s, *noise_y = batch.noise.split([z * len(parts), *(z for _ in parts)], dim=-1)
        texts = zip(parts, batch.text.chunk(len(parts), dim=-1), noise_y, strict=True)
        latents_y = [Latent.sample(network(f"encoder_{part}", text), noise) for part, text, noise in texts]
        return Latent.sample(network("encoder_s", batch.x), noise_s), latents_y

    def losses(self, network: Network, batch: Batch, encoded: tuple[Latent, list[Latent]]) -> dict[str, Tensor]:
        """The terms of Eq. 4, each (…,), the ELBO's (Eq. 1 and 2) with its sign turned: all is minimised."""
        latent_s, latents_y = encoded
        parts = _PARTS[batch.config.parts]
        texts = batch.text.chunk(len(parts), dim=-1)

        def error(part: str, latent: Tensor, target: Tensor) -> Tensor:
            """A decoding's squared norm (Eq. 3), or its mean over elements (released)."""
            decoded = network(f"decoder_{part}", latent)
            decoded = batch.fields.chosen("output_relu", {True: decoded.relu, False: decoded})
            mean = squared_error(decoded, target)
            return batch.fields.chosen("reconstruction", {"sum": lambda: mean * target.shape[-1], "mean": mean})

        own = [latent.z for latent in latents_y]
        terms = {
            "reconstruction": error("s", latent_s.z, batch.x) + sum(map(error, parts, own, texts)),  # Eq. 2
            "kl_s": latent_s.divergence,
            "kl_y": sum(latent.divergence for latent in latents_y),
        }
        if "cross_reconstruction" in batch.wanted:  # Eq. 3: the skeleton from the text's latents, a part from its half
            halves = latent_s.z.chunk(len(parts), dim=-1)
            from_text = error("s", torch.cat(own, dim=-1), batch.x)
            terms["cross_reconstruction"] = from_text + sum(map(error, parts, halves, texts))
        return terms

    def weights(self, config: SynSEConfig, epoch: int, steps: int) -> dict[str, Tensor]:
        """α and β in a cycle (2.6)."""
        return {
            "reconstruction": torch.ones(steps),
            "cross_reconstruction": config.alpha * switched_on(steps, config.alpha_start),
            "kl_s": rising(steps, config.beta_start, config.beta_rate),
            "kl_y": rising(steps, config.beta_y_start, config.beta_rate) * (epoch >= config.beta_y_first_cycle),
        }

    def prepared(self, semantics: Tensor, config: SynSEConfig) -> Tensor:
        return _in_parts(semantics, _PARTS[config.parts])

    def models(self, trained: Sequence[Trained]) -> list[SynSEModel]:
        models = []
        for one in trained:
            task, model = one.task, one.model(SynSEModel)
            if model.config.combination == "joint":
                model = replace(model, kept={"seen_latents": model.latents_of(task)})
            models.append(replace(model, classifiers=seen_classifiers(one.member, task.features)))
        return _with_classifiers(models)

    def check(self, members: Sequence[Member]) -> None:
        """Raises InputError where given logits are wanted and there are none, the class text has no halves, a cycle
        ends before its cross-modal reconstruction begins, or f_u has a ReLU and is not fitted by Adam."""
        for member in members:
            config, width = member.config, member.task.semantics.shape[1]
            check_classifier(config)
            check_seen_classifier(member)
            if width % len(_PARTS[config.parts]):
                raise InputError(
                    f"parts=verb+noun: the class text has {width} dimensions, which are no two halves; give "
                    "--text verb+noun --combine concatenate, or parts=single"
                )
            if config.alpha_start > config.cycle - 2:
                raise InputError(
                    f"alpha_start={config.alpha_start}: a cycle of {config.cycle} steps ends before it; must be below "
                    f"{config.cycle - 1}"
                )
        warn_of_relu("synse", members)


method = SynSE()


def _in_parts(semantics: Tensor, parts: Sequence[str]) -> Tensor:
    """(C, T) with each part's vector at Euclidean length 1; one of zeros stays so."""
    return torch.cat([normalize(part, dim=1) for part in semantics.chunk(len(parts), dim=1)], dim=1)


def _with_classifiers(models: Sequence[SynSEModel]) -> list[SynSEModel]:
    """The models with f_u (Section 2.4), and where they have seen latents, with the classifier over all classes."""
    latents = [[model.generated()] for model in models]
    models = with_classifier(models, latents, "unseen")
    joint = [m for m, model in enumerate(models) if "seen_latents" in model.kept]
    if joint:
        blocks = [[models[m].kept["seen_latents"], *latents[m]] for m in joint]
        for m, model in zip(joint, with_classifier([models[m] for m in joint], blocks, "joint"), strict=True):
            models[m] = model
    return models
