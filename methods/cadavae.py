"""CADA-VAE: cross- and distribution-aligned variational autoencoders (Schönfeld et al., CVPR 2019).

One autoencoder for the features and one for the class text, with one hidden layer in each network. Their latents are
aligned by decoding each from the other's (cross-alignment, L_CA) and by the 2-Wasserstein distance of the two normal
distributions (distribution alignment, L_DA): L = L_VAE + γ L_CA + δ L_DA, where L_VAE's KL terms have the weight β. The
three weights warm up over the epochs.

Sizes, schedules and what the paper leaves open are the released code's: layers start Xavier-uniform with gain 0.5, Adam
is AMSGrad, and losses are sums over elements. Over the batch they are means here, where the code has sums; Adam sees no
difference. Latents are drawn as the code draws them too, with σ = exp(log σ²) and by one normal number a sample: the
weights of its losses were found with that. With σ = exp(½ log σ²) and a number for each dimension, as the paper's text
reads (preset `paper`), the same weights leave the latents almost nothing of the features: on 2048 non-negative
dimensions under min-max, as its authors scale them, all unseen samples become one class, and Animals with Attributes
falls from 34 to 22 %.

The classifiers are trained as in the code, by passes in batches of 32. How many is a number for each of its data sets,
found on validation classes: 21 to 33 for the one over all classes, 22 to 39 for the unseen ones alone. It matters, and
more so the smaller the latents are: too few leave seen samples to the unseen classes, which have twice as many latents,
and under `noise=sample`, where latents of different classes hardly overlap, too many do the opposite.
classifier_fit=penalised depends on neither.

A warm-up's start and end are shares of the epochs, so that they keep their places where a user trains for fewer.

Its GZSL is combination=joint: one classifier over all classes, trained on latents of the seen classes' features and of
the unseen classes' text. SynSE and SA-DVAE put it behind SynSE's gate to compare; the other combinations are that.

The presets `ntu60-synse` and `ntu120-synse` have the sizes and losses of SynSE's comparison (its Section 3: without the
distribution alignment; its released code: no hidden layers, mean squared errors). That code also anneals in SynSE's
cycles, which this module does not: `methods.synse` with parts=single is the same model with that schedule.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, Literal, Self

import torch
from pydantic import Field
from torch import Tensor

from methods.accelerated.vae import Distance, Reconstruction, crossed, crossed_slopes, latent_slope
from methods.latents import classifiers_on, drawn, rows_of_classes
from methods.models import WeightsModel, check_seen_classifier, seen_classifiers
from methods.vae import Latent
from platform.errors import InputError
from platform.learning.stacked import StackedPopulation
from platform.method import PAPERS_GATE, Member, Method, MethodConfig, Population
from platform.population.adam import PopulationAdam
from platform.population.draws import generator
from platform.population.layers import Layout, stacked_product, xavier
from platform.population.noise import EpochNoise
from platform.population.schedules import warm_up
from platform.workers import Workers
from platform.zeroshot.classifiers import Adam, Penalised, SoftmaxClassifier, Training
from platform.zeroshot.task import Task

# rows and columns of each layer's matrix, part by part; an encoder's last columns are means, then log-variances
_HIDDEN: Layout = {
    "encoder_x_1": (("features",), ("encoder_x",)),
    "encoder_x_2": (("encoder_x",), ("z", "z")),
    "decoder_x_1": (("z",), ("decoder_x",)),
    "decoder_x_2": (("decoder_x",), ("features",)),
    "encoder_y_1": (("text",), ("encoder_y",)),
    "encoder_y_2": (("encoder_y",), ("z", "z")),
    "decoder_y_1": (("z",), ("decoder_y",)),
    "decoder_y_2": (("decoder_y",), ("text",)),
}
_SINGLE: Layout = {
    "encoder_x_2": (("features",), ("z", "z")),
    "decoder_x_2": (("z",), ("features",)),
    "encoder_y_2": (("text",), ("z", "z")),
    "decoder_y_2": (("z",), ("text",)),
}
_LOSSES = ("reconstruction", "cross_reconstruction", "kl_x", "kl_y", "distance")
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
    "seen_classifier": "logits",
    **PAPERS_GATE,
    "combination": "hard",
    "gate_balanced": False,
}


class CADAVAEConfig(MethodConfig):
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
        0.1,
        gt=0,
        description="inverse L2 penalty of classifier_fit=penalised (scikit-learn's C, on standardised latents)",
    )
    seen_classifier: Literal["features", "logits"] = Field(
        "features", description="seen scores of the gate: a softmax layer on the features, or given logits (SynSE, 2.5)"
    )
    seen_classifier_c: float = Field(1.0, gt=0, description="inverse L2 penalty of that layer (scikit-learn's C)")
    combination: Literal["joint", "hard", "soft", "stacking"] = Field(
        "joint",
        description="joint: one classifier over all classes (its own), a hard or soft gate (as SynSE and SA-DVAE "
        "compare with it), or calibrated stacking",
    )
    joint_seen_samples: int = Field(
        200, ge=1, description="latents of its features for each seen class, under combination=joint (released)"
    )
    joint_unseen_samples: int = Field(
        400, ge=1, description="latents of its text for each unseen class, under combination=joint (released)"
    )


@dataclass(frozen=True)
class CADAVAEModel(WeightsModel):
    """A trained CADA-VAE of one member. classifiers: `unseen`, and `seen` for the gate.

    kept: under combination=joint, `seen_latents` (S, joint_seen_samples, z) of the seen classes' features. On these and
    on the unseen classes' text the classifier over all classes is trained, once it is asked for.
    """

    Config = CADAVAEConfig

    def latent(self, x: Tensor) -> Tensor:
        """(N, z) means. x: (N, D)."""
        return self.encoded("x", x).chunk(2, dim=-1)[0]

    def latents(self, x: Tensor) -> dict[str, Tensor]:
        return {"z": self.latent(x)}

    def encoded(self, modality: Literal["x", "y"], inputs: Tensor) -> Tensor:
        """(…, 2·z) means and log-variances of features `x` or class text `y` (…, width)."""
        hidden = self.layer(f"encoder_{modality}_1", inputs).relu() if self.config.hidden else inputs
        return self.layer(f"encoder_{modality}_2", hidden)

    def unseen_scores(self, x: Tensor) -> Tensor:
        return self.classifiers["unseen"].log_probabilities(self.latent(x))

    def sides(self, x: Tensor, logits: Tensor | None = None) -> tuple[Tensor, Tensor]:
        if self.config.combination != "joint":
            return super().sides(x, logits)
        scores = self.joint_classifier.log_probabilities(self.latent(x))
        return scores[:, : len(self.seen)], scores[:, len(self.seen) :]

    @cached_property
    def joint_classifier(self) -> SoftmaxClassifier:
        """Over all classes, the seen ones first."""
        if "joint" in self.classifiers:
            return self.classifiers["joint"]
        blocks = [self.kept["seen_latents"], _of_text(self, self.config.joint_unseen_samples, "joint latents")]
        return _classifiers([self], [blocks], "joint classifier", [self.config.joint_passes])[0]

    def all_classifiers(self) -> Mapping[str, SoftmaxClassifier]:
        return self.classifiers | ({"joint": self.joint_classifier} if "seen_latents" in self.kept else {})

    def refitted(self) -> Self:
        return _with_classifiers([self])[0]


class CADAVAE(Method):
    """The method; see the module."""

    Config = CADAVAEConfig
    Model = CADAVAEModel
    least_movement = 0.5  # less than of linear encoders (`methods.vae.LEAST_MOVEMENT`): measured
    data_parallel = "equal"
    pack_by = ("batch_size", "hidden")
    citation = """@inproceedings{schonfeld2019cadavae,
  title = {Generalized Zero- and Few-Shot Learning via Aligned Variational Autoencoders},
  author = {Sch{\\"o}nfeld, Edgar and Ebrahimi, Sayna and Sinha, Samarth and Darrell, Trevor and Akata, Zeynep},
  booktitle = {IEEE/CVF Conference on Computer Vision and Pattern Recognition (CVPR)},
  year = {2019}
}"""
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {"deviation": "paper", "noise": "dimension"},
        "ntu60-synse": _COMPARISON | {"z": 100},
        "ntu120-synse": _COMPARISON | {"z": 200},
    }

    def population(self, members: Sequence[Member], workers: Workers) -> Population:
        """Members that train side by side. They share `pack_by`; task, seed and every other field may differ.

        Raises InputError where given logits are wanted and there are none, a warm-up ends before it starts.
        """
        for member in members:
            check_seen_classifier(member)
            for name in _WARM_UPS:
                start, end = (getattr(member.config, f"{name}_{at}") for at in ("start", "end"))
                if end < start:
                    raise InputError(f"{name}_end={end}: its warm-up starts at {start}; must not be below that")
        return _Population(members, workers)


method = CADAVAE()


class _Population(StackedPopulation):
    """CADA-VAE's members; see `platform.learning.stacked`."""

    def __init__(self, members: Sequence[Member], workers: Workers) -> None:
        self.configs: list[CADAVAEConfig] = [m.config for m in members]
        self.hidden, self.batch_size = self.configs[0].hidden, self.configs[0].batch_size
        self.layout = _HIDDEN if self.hidden else _SINGLE
        super().__init__(members, workers)
        self.absolute = self._where([c.reconstruction == "l1" for c in self.configs])
        self.by_variance = self._where([c.deviation == "released" for c in self.configs])
        self.elements = {kind: self._elements(kind) for kind in ("features", "text")}
        self.step = self.replayed(self._take_step)

    def widths_of(self, member: Member) -> dict[str, int]:
        config, task = member.config, member.task
        hidden = {name: getattr(config, name) for name in ("encoder_x", "decoder_x", "encoder_y", "decoder_y")}
        return {"features": task.features.shape[1], "text": task.semantics.shape[1], "z": config.z, **hidden}

    def initial_weights(self, member: Member) -> dict[str, Tensor]:
        """Means and log-variances start by themselves; biases start at zero."""
        widths, draw = self.widths_of(member), generator(member.seed, "weights")
        weights = {}
        for layer, ((rows,), columns) in self.layout.items():
            weights[layer] = torch.cat([xavier(widths[rows], widths[part], 0.5, draw) for part in columns], dim=1)
            weights[f"{layer}_bias"] = torch.zeros(1, weights[layer].shape[1])
        return weights

    def make_optimisers(self) -> Sequence[PopulationAdam]:
        rates = [c.learning_rate for c in self.configs]
        self.optimiser = PopulationAdam(self.layers.parameters, rates, amsgrad=True)
        return [self.optimiser]

    def next_epoch(self) -> list[dict[str, float]]:
        mine = self.workers.share(self.batch_size)
        steps, rows = self.data.batches(self.epochs, self.batch_size)
        rows = rows[:, :, mine]  # (longest, members, batch)
        weights = self._loss_weights()  # (3, members), for the whole epoch
        aligned = tuple((weights[1:] > 0).any(1).tolist())
        noise = self._noise(mine)
        counts = torch.tensor(steps, device=self.device)
        active = self.alive & (torch.arange(len(rows), device=self.device)[:, None] < counts)  # (longest, members)
        losses = torch.zeros(len(rows), len(_LOSSES), len(self.members), device=self.device)
        for step, everyone in enumerate(active.all(1).tolist()):
            losses[step] = self.step((everyone, *aligned), rows[step], noise.step(step)[0], weights, active[step])
        totals = torch.where(active[:, None], losses, 0.0).sum(dim=0, dtype=torch.float64).float()
        return self.report(_LOSSES, self.workers.average([totals])[0] / active.sum(dim=0))

    def models(self, indices: Sequence[int]) -> list[CADAVAEModel]:
        """Some members as they are now, each with its classifiers."""
        models = []
        for m in indices:
            member, task = self.members[m], self.data.tasks[m]
            model = CADAVAEModel(
                seen=member.task.seen,
                unseen=member.task.unseen,
                combination=None,
                config=member.config,
                seed=member.seed,
                weights=self.layers.own(m, self.layers.parameters),
                semantics=self.data.unseen_semantics(m),
                classifiers=seen_classifiers(member, task.features),
            )
            if member.config.combination == "joint":
                model = replace(model, kept={"seen_latents": _of_features(model, task)})
            models.append(model)
        return _with_classifiers(models)

    def _where(self, chosen: Sequence[bool]) -> Tensor | None:
        """(members,) bool; None where it is nobody."""
        return torch.tensor(chosen, device=self.device) if any(chosen) else None

    def _elements(self, kind: str) -> Tensor:
        """(members, 1) what turns a mean over elements into a member's error."""
        own = [1.0 if c.reconstruction == "mean" else float(w[kind])
               for c, w in zip(self.configs, self.widths, strict=True)]  # fmt: skip
        return torch.tensor(own, device=self.device)[:, None]

    def _noise(self, mine: slice) -> EpochNoise:
        single = [c.noise == "sample" for c in self.configs]
        return EpochNoise(
            [m.seed for m in self.members],
            self.epochs,
            ("z", "z"),
            self.widths,
            single,
            self.batch_size,
            mine,
            self.device,
        )

    def _loss_weights(self) -> Tensor:
        """(3, members): β, γ and δ in the members' epochs."""
        columns = []
        for config, epoch in zip(self.configs, self.epochs, strict=True):
            on = {"beta": True, "cross": config.cross_alignment, "distance": config.distribution_alignment}
            done = epoch / config.epochs
            columns.append(
                [
                    on[name]
                    * getattr(config, name)
                    * warm_up(done, getattr(config, f"{name}_start"), getattr(config, f"{name}_end"))
                    for name in _WARM_UPS
                ]
            )
        return torch.tensor(columns, device=self.device).T.contiguous()

    def _take_step(
        self, kind: tuple[bool, bool, bool], rows: Tensor, noise: Tensor, weights: Tensor, active: Tensor
    ) -> Tensor:
        """One step of all members; gives `_LOSSES` (5, members).

        kind: whether all members take part, any decodes across modalities, and any brings the distributions together.
        rows: (members, batch); noise: (members, batch, 2·z); weights: (3, members); active: (members,).
        """
        everyone, crossing, near = kind
        losses = self._differentiate(*self.data.batch(rows), noise, weights, crossing, near)
        gradients = [self.layers.gradients[name] for name in self.optimiser.parameters]
        self.optimiser.step(self.workers.average(gradients), None if everyone else active)
        return losses

    def _differentiate(
        self, x: Tensor, y: Tensor, noise: Tensor, weights: Tensor, crossing: bool, near: bool
    ) -> Tensor:
        """Write the gradients of L; gives its terms, `_LOSSES` (5, members), zero where a weight is.

        x: (members, batch, D), y: (members, batch, T), weights: (3, members). Cross-alignment is left out unless
        `crossing`, the distance unless `near`.
        """
        beta, gamma, delta = weights
        latents, hidden = {}, {}
        for modality, inputs, own in zip("xy", (x, y), noise.chunk(2, dim=-1), strict=True):
            hidden[modality] = self._hidden(f"encoder_{modality}", inputs)
            latent = Latent.sample(self.layers(f"encoder_{modality}_2", hidden[modality]), own)
            latents[modality] = latent if self.by_variance is None else latent.by_variance(self.by_variance)
        for_x, for_y = latents["x"].z, latents["y"].z
        if crossing:
            for_x, for_y = crossed(for_x, for_y, 0)
        own_and_crossed = torch.stack([torch.ones_like(gamma), gamma], dim=1)[:, : 1 + crossing]
        errors_x, slope_x = self._decode("decoder_x", for_x, x, own_and_crossed, self.elements["features"])
        errors_y, slope_y = self._decode("decoder_y", for_y, y, own_and_crossed, self.elements["text"])
        if crossing:
            slope_x, slope_y = crossed_slopes(slope_x, slope_y, 0)
        slopes = {"x": latent_slope(latents["x"], slope_x, beta), "y": latent_slope(latents["y"], slope_y, beta)}
        nothing = torch.zeros_like(beta)
        apart = nothing
        if near:
            distance = Distance.between(latents["x"], latents["y"])
            apart = torch.where(delta > 0, distance.value, nothing)
            for modality, slope in zip("xy", distance.slopes(latents["x"], latents["y"], delta), strict=True):
                slopes[modality] += slope
        for modality, inputs in zip("xy", (x, y), strict=True):
            self._write(f"encoder_{modality}", inputs, hidden[modality], slopes[modality])
        errors = errors_x + errors_y
        cross = torch.where(gamma > 0, errors[:, 1], nothing) if crossing else nothing
        return torch.stack([errors[:, 0], cross, latents["x"].divergence, latents["y"].divergence, apart])

    def _hidden(self, network: str, inputs: Tensor) -> Tensor:
        return self.layers(f"{network}_1", inputs).relu_() if self.hidden else inputs

    def _write(self, network: str, inputs: Tensor, hidden: Tensor, slope: Tensor) -> Tensor | None:
        """Write a network's gradients from the slope of what it gave; gives that of its hidden layer's logits."""
        self.layers.write_slopes(f"{network}_2", hidden, slope)
        if not self.hidden:
            return None
        slope = stacked_product(slope, self.layers.parameters[f"{network}_2"].transpose(1, 2)).mul_(hidden > 0)
        self.layers.write_slopes(f"{network}_1", inputs, slope)
        return slope

    def _decode(
        self, network: str, latents: Tensor, target: Tensor, weight: Tensor, elements: Tensor
    ) -> tuple[Tensor, Tensor]:
        """(members, k) errors of k decodings of one target, and the latents' slope; writes the network's gradients.

        latents: (members, k·batch, z), batch after batch; weight: (members, k); elements: (members, 1).
        """
        hidden = self._hidden(network, latents)
        reconstruction = Reconstruction.of(self.layers(f"{network}_2", hidden), target, self.absolute)
        slope = reconstruction.slope(weight * elements)
        first = self._write(network, latents, hidden, slope)
        slope, layer = (slope, f"{network}_2") if first is None else (first, f"{network}_1")
        return reconstruction.errors * elements, stacked_product(slope, self.layers.parameters[layer].transpose(1, 2))


def _with_classifiers(models: Sequence[CADAVAEModel]) -> list[CADAVAEModel]:
    """The models with classifiers of their unseen classes."""
    latents = [[_of_text(model, model.config.classifier_samples, "latents")] for model in models]
    passes = [model.config.classifier_passes for model in models]
    found = _classifiers(models, latents, "unseen classifier", passes)
    kept = [{name: c for name, c in model.classifiers.items() if name == "seen"} for model in models]
    return [replace(m, classifiers=k | {"unseen": u}) for m, k, u in zip(models, kept, found, strict=True)]


def _classifiers(
    models: Sequence[CADAVAEModel], latents: Sequence[Sequence[Tensor]], purpose: str, passes: Sequence[int]
) -> list[SoftmaxClassifier]:
    return classifiers_on(
        latents,
        [_training(model.config, count) for model, count in zip(models, passes, strict=True)],
        [False] * len(models),
        [generator(model.seed, purpose) for model in models],
    )


def _training(config: CADAVAEConfig, passes: int) -> Training:
    if config.classifier_fit == "penalised":
        return Penalised(config.classifier_c)
    return Adam(
        passes,
        config.classifier_learning_rate,
        config.classifier_batch_size or None,
        betas=(config.classifier_beta_1, 0.999),
        gain=0.5,
    )


def _of_text(model: CADAVAEModel, samples: int, purpose: str) -> Tensor:
    """(U, samples, z) latents of the unseen classes' text."""
    head = model.encoded("y", model.semantics)[:, None].expand(-1, samples, -1)
    return _drawn(model, head, generator(model.seed, purpose, device=head.device))


def _of_features(model: CADAVAEModel, task: Task) -> Tensor:
    """(S, joint_seen_samples, z) latents of training samples, class by class."""
    draw = generator(model.seed, "seen latents", device=task.features.device)
    rows = rows_of_classes(task.labels, len(task.seen), model.config.joint_seen_samples, draw)
    return _drawn(model, model.encoded("x", task.features)[rows], draw)


def _drawn(model: CADAVAEModel, head: Tensor, draw: torch.Generator) -> Tensor:
    if model.config.deviation == "released":
        mean, logvar = head.chunk(2, dim=-1)
        head = torch.cat([mean, 2 * logvar], dim=-1)  # whose deviation is the variance
    return drawn(head, model.config.noise == "sample", draw)
