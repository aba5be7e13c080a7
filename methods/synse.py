"""SynSE: syntactically guided generative embeddings (Gupta et al., ICIP 2021).

A variational autoencoder for the skeleton features, one for the verb of each class and one for its noun. The halves of
the skeleton latent, z_s,v and z_s,n, are aligned with the latents z_v and z_n by cross-modal reconstruction, which is
switched on late in each cycle of an annealing schedule. Written as a population, as SA-DVAE is.

The class semantics hold the verb's vector and then the noun's: `--text verb+noun --combine concatenate`, the default
here. Each is brought to length 1, as the released code does. With parts=single, one autoencoder takes the whole text.

An epoch is one cycle, after each of which the released code tests its model too; what the paper and the code call an
epoch is a step, on one random batch. Where the two differ, the paper is the default, and the presets `released-…` give
the code's choices. The paper's squared norms (Eq. 3) are sums over elements; the code has means, with a smaller β.

f_u is the layer of least penalised loss on its latents, as C_u of `methods.sadvae` is, where the paper takes 300 steps
of Adam; its presets do as the paper (classifier_fit=adam).

The gates, stacking, and CADA-VAE's way without a gate (Table 2) are values of `combination`. The former join f_s and
f_u, and the protocol fits them. The latter is a third classifier, over all classes at once, which the model brings:
`SynSEModel.sides` gives the two blocks of its log-probabilities, and the protocol joins them as they are. So
validation, saved models and ensembles treat it as any other, and zero-shot accuracy stays that of f_u.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal, Self

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import normalize, pad

from methods.accelerated.vae import Reconstruction, crossed, crossed_slopes, latent_slope
from methods.latents import check_classifier, classifiers_on, drawn, rows_of_classes, training_of
from methods.outputs import warn_of_relu
from methods.vae import LEAST_MOVEMENT, Latent
from platform.errors import InputError
from platform.learning.stacked import StackedPopulation
from platform.method import PAPERS_GATE, Member, Method, MethodConfig, Model, Population
from platform.population.adam import PopulationAdam
from platform.population.draws import generator
from platform.population.layers import Layout, stacked_product, xavier
from platform.population.noise import EpochNoise
from platform.population.schedules import rising, switched_on
from platform.workers import Workers
from platform.zeroshot.classifiers import SoftmaxClassifier, fit_on_task
from platform.zeroshot.task import Task

_PARTS = {"verb+noun": ("verb", "noun"), "single": ("text",)}
_LOSSES = ("reconstruction", "cross_reconstruction", "kl_s", "kl_y")
_CLASSIFIERS = ("unseen_classifier", "seen_classifier", "joint_classifier")
_RELEASED = {  # the code's choices for all data sets
    "beta_rate": 0.1 / 3000,
    "beta_y_first_cycle": 2,
    "reconstruction": "mean",
    "noise": "sample",
    "output_relu": True,
    "classifier_relu": True,
    "classifier_fit": "adam",
    "seen_classifier": "logits",
    **PAPERS_GATE,
    "combination": "hard",
    "gate_balanced": False,
}
_PAPER = {  # Section 2.6's for all data sets
    "classifier_fit": "adam",
    "seen_classifier": "logits",
    **PAPERS_GATE,
    "combination": "hard",
    "gate_balanced": False,
}


class SynSEConfig(MethodConfig):
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
    noise: Literal["dimension", "sample"] = Field(
        "dimension", description="a normal draw for each latent dimension, or one for all of a latent (released)"
    )
    output_relu: bool = Field(False, description="ReLU on the decoders' outputs (released)")
    classifier_relu: bool = Field(False, description="ReLU on the classifier's logits (released)")
    classifier_samples: int = Field(500, ge=1, description="latents generated for each unseen class (2.6; Table 3)")
    classifier_fit: Literal["penalised", "adam"] = Field(
        "penalised",
        description="f_u: the layer of least penalised loss (ours), or full-batch steps of Adam (2.6)",
    )
    classifier_c: float = Field(
        0.1, gt=0, description="inverse L2 penalty of f_u on standardised latents (scikit-learn's C; ours)"
    )
    classifier_steps: int = Field(300, ge=1, description="of Adam, for f_u (2.6)")
    classifier_learning_rate: float = Field(1e-3, gt=0, description="of f_u's Adam (2.6)")
    seen_classifier: Literal["features", "logits"] = Field(
        "features",
        description="f_s: a softmax layer fitted on x_s, or the one of the extractor itself, whose logits the data set "
        "then brings (2.5)",
    )
    seen_classifier_c: float = Field(1.0, gt=0, description="inverse L2 penalty of f_s (scikit-learn's C)")
    combination: Literal["hard", "soft", "stacking", "joint"] = Field(
        "soft",
        description="a hard gate with a chosen threshold (2.6), a soft one (Eq. 5; Table 2), calibrated stacking, or "
        "joint: no gate, one classifier over all classes (CADA-VAE's GZSL, Table 2); soft by our comparison of rules",
    )
    joint_samples: int = Field(
        200, ge=1, description="latents of its skeletons for each seen class, under combination=joint (CADA-VAE's code)"
    )


@dataclass(frozen=True)
class SynSEModel(Model):
    """A trained SynSE of one member.

    weights: the matrices of its layers at the member's own widths, and their biases (1, columns) as `LAYER_bias`.
    """

    config: SynSEConfig
    seed: int
    weights: dict[str, Tensor] = field(repr=False)
    semantics: Tensor = field(repr=False)  # (U, T) of the unseen classes
    unseen_classifier: SoftmaxClassifier | None = field(repr=False)
    seen_classifier: SoftmaxClassifier | None = field(repr=False)  # None where logits are given
    joint_classifier: SoftmaxClassifier | None = field(default=None, repr=False)  # over all classes, without a gate
    seen_latents: Tensor | None = field(default=None, repr=False)  # (S, joint_samples, z_s), to fit it again

    def latent(self, x: Tensor) -> Tensor:
        """(N, z_s) means of the skeleton latent, the verb's half first. x: (N, D)."""
        return _linear(self.weights, "encoder_s", x).chunk(2, dim=-1)[0]

    def latents(self, x: Tensor) -> dict[str, Tensor]:
        if self.config.parts == "single":
            return {"z": self.latent(x)}
        return dict(zip(("z_verb", "z_noun"), self.latent(x).chunk(2, dim=1), strict=True))

    def unseen_scores(self, x: Tensor) -> Tensor:
        return self.unseen_classifier.log_probabilities(self.latent(x))

    def seen_scores(self, x: Tensor, logits: Tensor | None = None) -> Tensor:
        if self.config.seen_classifier == "logits":
            if logits is None or not torch.isfinite(logits).all():
                raise InputError("seen_classifier=logits: these samples have no logits; use seen_classifier=features")
            return torch.log_softmax(logits, dim=1)
        return self.seen_classifier.log_probabilities(x)

    def sides(self, x: Tensor, logits: Tensor | None = None) -> tuple[Tensor, Tensor]:
        if self.joint_classifier is None:
            return super().sides(x, logits)
        scores = self.joint_classifier.log_probabilities(self.latent(x))
        return scores[:, : len(self.seen)], scores[:, len(self.seen) :]

    def with_classes(self, names: Sequence[str], semantics: Tensor) -> Self:
        semantics = semantics.to(self.semantics)
        if semantics.dim() != 2 or semantics.shape[1] != self.semantics.shape[1]:
            expected = self.semantics.shape[1]
            raise InputError(
                f"semantics of new classes: shape {tuple(semantics.shape)}, expected (classes, {expected})"
            )
        return _with_classifiers([replace(self, unseen=tuple(names), semantics=semantics)])[0]

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        tensors = {f"weights.{name}": tensor for name, tensor in self.weights.items()} | {"semantics": self.semantics}
        for name in _CLASSIFIERS:
            if classifier := getattr(self, name):
                tensors |= {f"{name}.weight": classifier.weight, f"{name}.bias": classifier.bias}
        if self.seen_latents is not None:
            tensors["seen_latents"] = self.seen_latents
        return tensors, {"config": self.config.model_dump(), "seed": self.seed}

    @classmethod
    def from_state(cls, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> Self:
        config = SynSEConfig(**values["config"])
        classifiers = {
            name: SoftmaxClassifier(
                tensors[f"{name}.weight"],
                tensors[f"{name}.bias"],
                config.classifier_relu and name != "seen_classifier",
            )
            for name in _CLASSIFIERS
            if f"{name}.weight" in tensors
        }
        return cls(
            seen=values["seen"],
            unseen=values["unseen"],
            combination=values["combination"],
            config=config,
            seed=values["seed"],
            weights={n.removeprefix("weights."): t for n, t in tensors.items() if n.startswith("weights.")},
            semantics=tensors["semantics"],
            seen_latents=tensors.get("seen_latents"),
            **{name: classifiers.get(name) for name in _CLASSIFIERS},
        )


class SynSE(Method):
    """The method; see the module."""

    Config = SynSEConfig
    Model = SynSEModel
    least_movement = LEAST_MOVEMENT
    data_parallel = "equal"
    pack_by = ("batch_size", "parts")
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

    def population(self, members: Sequence[Member], workers: Workers) -> Population:
        """Members that train side by side. They share `pack_by`; task, seed and every other field may differ.

        Raises InputError where given logits are wanted and there are none, the class text has no halves, a cycle ends
        before its cross-modal reconstruction begins, f_u has a ReLU and is not fitted by Adam.
        """
        for member in members:
            _check(member)
        warn_of_relu("synse", members)
        return _Population(members, workers)


method = SynSE()


def _check(member: Member) -> None:
    config, width = member.config, member.task.semantics.shape[1]
    check_classifier(config)
    if config.seen_classifier == "logits" and member.task.logits is None:
        raise InputError("seen_classifier=logits: the data folder has no logits; use seen_classifier=features")
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


class _Population(StackedPopulation):
    """SynSE's members; see `platform.learning.stacked`."""

    def __init__(self, members: Sequence[Member], workers: Workers) -> None:
        self.configs: list[SynSEConfig] = [m.config for m in members]
        self.config = self.configs[0]  # for the fields of `pack_by`
        self.parts = _PARTS[self.config.parts]
        self.layout = _layers(self.parts)
        super().__init__(members, workers)
        self.data.semantics = _in_parts(self.data.semantics, self.parts)
        self.z = self.layers.widest["z"]
        relu = torch.tensor([c.output_relu for c in self.configs], device=self.device)[:, None, None]
        self.without_relu = ~relu if relu.any() else None
        self.elements = {kind: self._elements(kind) for kind in ("features", "text")}
        self.step = self.replayed(self._take_step)

    def widths_of(self, member: Member) -> dict[str, int]:
        parts = len(self.parts)
        return {
            "features": member.task.features.shape[1],
            "text": member.task.semantics.shape[1] // parts,
            "z": member.config.z_s // parts,
        }

    def initial_weights(self, member: Member) -> dict[str, Tensor]:
        """An encoder's two heads start by themselves; biases start at zero."""
        widths, draw = self.widths_of(member), generator(member.seed, "weights")
        weights = {}
        for layer, (rows, columns) in self.layout.items():
            fan_in, fan_out = (sum(widths[part] for part in parts) for parts in (rows, columns))
            count = 2 if layer.startswith("encoder") else 1
            heads = [xavier(fan_in, fan_out // count, 0.5, draw) for _ in range(count)]
            weights |= {layer: torch.cat(heads, dim=1), f"{layer}_bias": torch.zeros(1, fan_out)}
        return weights

    def make_optimisers(self) -> Sequence[PopulationAdam]:
        self.optimiser = PopulationAdam(self.layers.parameters, [c.learning_rate for c in self.configs])
        return [self.optimiser]

    def next_epoch(self) -> list[dict[str, float]]:
        """The members' next cycle."""
        batch_size = self.config.batch_size
        mine = self.workers.share(batch_size)
        cycles, rows = self.data.batches(self.epochs, batch_size, [c.cycle for c in self.configs])
        rows = rows[:, :, mine]  # (longest, members, batch)
        weights = self._loss_weights()  # (longest, 3, members)
        noise = self._noise(mine)
        own_steps = torch.tensor(cycles, device=self.device)
        active = self.alive & (torch.arange(len(rows), device=self.device)[:, None] < own_steps)  # (longest, members)
        crossing = active & (weights[:, 0] > 0)
        kinds = list(zip(active.all(1).tolist(), crossing.any(1).tolist(), strict=True))
        losses = torch.zeros(len(rows), len(_LOSSES), len(self.members), device=self.device)
        for step, kind in enumerate(kinds):
            losses[step] = self.step(kind, rows[step], noise.step(step)[0], weights[step], active[step])
        counted = torch.stack([active, crossing, active, active], dim=1)
        totals = torch.where(counted, losses, 0.0).sum(dim=0, dtype=torch.float64).float()
        counts = counted.sum(dim=0)
        counts[1].clamp_(min=1)
        return self.report(_LOSSES, self.workers.average([totals])[0] / counts)

    def models(self, indices: Sequence[int]) -> list[SynSEModel]:
        """Some members as they are now, each with its classifiers."""
        models = []
        for m in indices:
            member, task = self.members[m], self.data.tasks[m]
            model = SynSEModel(
                seen=member.task.seen,
                unseen=member.task.unseen,
                combination=None,
                config=member.config,
                seed=member.seed,
                weights=self.layers.own(m, self.layers.parameters),
                semantics=self.data.unseen_semantics(m),
                unseen_classifier=None,
                seen_classifier=_seen_classifier(member, task.features),
            )
            if member.config.combination == "joint":
                model = replace(model, seen_latents=_seen_latents(model, task))
            models.append(model)
        return _with_classifiers(models)

    def _noise(self, mine: slice) -> EpochNoise:
        latents = [("z",) * len(self.parts), *(("z",) for _ in self.parts)]  # the skeleton's, then each part's
        return EpochNoise(
            [m.seed for m in self.members],
            self.epochs,
            latents,
            self.widths,
            [c.noise == "sample" for c in self.configs],
            self.config.batch_size,
            mine,
            self.device,
        )

    def _elements(self, kind: str) -> Tensor:
        """(members, 1) what turns a mean over elements into a member's error."""
        sums = [c.reconstruction == "sum" for c in self.configs]
        own = [[float(w[kind]) if is_sum else 1.0] for w, is_sum in zip(self.widths, sums, strict=True)]
        return torch.tensor(own, device=self.device)

    def _loss_weights(self) -> Tensor:
        """(longest, 3, members): α and β of the skeleton and of the text at each step of the members' cycles."""
        longest, columns = max(c.cycle for c in self.configs), []
        for config, cycle in zip(self.configs, self.epochs, strict=True):
            own = [
                config.alpha * switched_on(config.cycle, config.alpha_start),
                rising(config.cycle, config.beta_start, config.beta_rate),
                rising(config.cycle, config.beta_y_start, config.beta_rate) * (cycle >= config.beta_y_first_cycle),
            ]
            columns.append(pad(torch.stack(own, dim=1), (0, 0, 0, longest - config.cycle)))
        return torch.stack(columns, dim=2).to(self.device)

    def _take_step(
        self, kind: tuple[bool, bool], rows: Tensor, noise: Tensor, weights: Tensor, active: Tensor
    ) -> Tensor:
        """One step of all members; gives `_LOSSES` (4, members).

        kind: whether all members take part, and whether any reconstructs across modalities. rows: (members, batch);
        noise: (members, batch, 2·z_s); weights: (3, members); active: (members,).
        """
        everyone, crossing = kind
        losses = self._differentiate(*self.data.batch(rows), noise, weights, crossing)
        gradients = [self.layers.gradients[name] for name in self.optimiser.parameters]
        self.optimiser.step(self.workers.average(gradients), None if everyone else active)
        return losses

    def _differentiate(self, x: Tensor, y: Tensor, noise: Tensor, weights: Tensor, crossing: bool) -> Tensor:
        """Write the gradients of Eq. 4; gives its terms, `_LOSSES` (4, members).

        x: (members, batch, D), y: (members, batch, T), weights: (3, members). The cross-modal reconstruction is left
        out unless `crossing`.
        """
        alpha, beta_s, beta_y = weights
        widths = [self.z] * len(self.parts)
        noise_s, *noise_y = noise.split([sum(widths), *widths], dim=-1)
        texts = y.chunk(len(self.parts), dim=-1)
        latent_s = Latent.sample(self.layers("encoder_s", x), noise_s)
        latents_y = [
            Latent.sample(self.layers(f"encoder_{part}", text), own)
            for part, text, own in zip(self.parts, texts, noise_y, strict=True)
        ]
        for_s, for_y = latent_s.z, torch.cat([latent.z for latent in latents_y], dim=-1)
        if crossing:
            for_s, for_y = crossed(for_s, for_y, 0)
        own_and_crossed = torch.stack([torch.ones_like(alpha), alpha], dim=1)[:, : 1 + crossing]
        errors, slope_s = self._decode("decoder_s", for_s, x, own_and_crossed, self.elements["features"])
        slopes_y = []
        for part, text, latent in zip(self.parts, texts, for_y.split(widths, dim=-1), strict=True):
            error, slope = self._decode(f"decoder_{part}", latent, text, own_and_crossed, self.elements["text"])
            errors = errors + error
            slopes_y.append(slope)
        slope_y = torch.cat(slopes_y, dim=-1)
        if crossing:
            slope_s, slope_y = crossed_slopes(slope_s, slope_y, 0)
        self.layers.write_slopes("encoder_s", x, latent_slope(latent_s, slope_s, beta_s))
        for part, text, latent, slope in zip(self.parts, texts, latents_y, slope_y.split(widths, dim=-1), strict=True):
            self.layers.write_slopes(f"encoder_{part}", text, latent_slope(latent, slope, beta_y))
        own, cross = errors[:, 0], errors[:, 1] if crossing else torch.zeros_like(alpha)
        return torch.stack([own, cross, latent_s.divergence, sum(latent.divergence for latent in latents_y)])

    def _decode(
        self, layer: str, latents: Tensor, target: Tensor, weight: Tensor, elements: Tensor
    ) -> tuple[Tensor, Tensor]:
        """(members, k) errors of k decodings of one target, and the latents' slope; writes the layer's gradients.

        latents: (members, k·batch, z), batch after batch; weight: (members, k).
        """
        decoded = self.layers(layer, latents)
        kept = None
        if self.without_relu is not None:
            kept = (decoded > 0) | self.without_relu
            decoded *= kept
        reconstruction = Reconstruction.of(decoded, target)
        slope = reconstruction.slope(weight * elements)
        if kept is not None:
            slope *= kept
        self.layers.write_slopes(layer, latents, slope)
        return reconstruction.errors * elements, stacked_product(slope, self.layers.parameters[layer].transpose(1, 2))


def _layers(parts: Sequence[str]) -> Layout:
    """Rows and columns of each layer's matrix; an encoder's columns are its means, then its log-variances."""
    z_s = ("z",) * len(parts)
    layers = {"encoder_s": (("features",), z_s * 2), "decoder_s": (z_s, ("features",))}
    for part in parts:
        layers |= {f"encoder_{part}": (("text",), ("z", "z")), f"decoder_{part}": (("z",), ("text",))}
    return layers


def _in_parts(semantics: Tensor, parts: Sequence[str]) -> Tensor:
    """(C, T) with each part's vector at Euclidean length 1; one of zeros stays so."""
    return torch.cat([normalize(part, dim=1) for part in semantics.chunk(len(parts), dim=1)], dim=1)


def _linear(weights: Mapping[str, Tensor], layer: str, x: Tensor) -> Tensor:
    return x @ weights[layer] + weights[f"{layer}_bias"][0]


def _with_classifiers(models: Sequence[SynSEModel]) -> list[SynSEModel]:
    """The models with f_u (Section 2.4), and where they have seen latents, with the classifier over all classes."""
    generated = [_generated(model) for model in models]
    found = _classifiers(models, [[latents] for latents in generated], "unseen classifier")
    models = [replace(model, unseen_classifier=own) for model, own in zip(models, found, strict=True)]
    joint = [m for m, model in enumerate(models) if model.seen_latents is not None]
    if joint:
        latents = [[models[m].seen_latents, generated[m]] for m in joint]
        found = _classifiers([models[m] for m in joint], latents, "joint classifier")
        for m, own in zip(joint, found, strict=True):
            models[m] = replace(models[m], joint_classifier=own)
    return models


def _classifiers(
    models: Sequence[SynSEModel], latents: Sequence[Sequence[Tensor]], purpose: str
) -> list[SoftmaxClassifier]:
    configs = [model.config for model in models]
    return classifiers_on(
        latents,
        [training_of(c) for c in configs],
        [c.classifier_relu for c in configs],
        [generator(model.seed, purpose) for model in models],
    )


def _generated(model: SynSEModel) -> Tensor:
    """(U, classifier_samples, z_s) latents of the unseen classes, each of its parts from that part's encoder."""
    config, parts = model.config, _PARTS[model.config.parts]
    draw = generator(model.seed, "latents", device=model.semantics.device)
    latents = []
    for part, text in zip(parts, _in_parts(model.semantics, parts).chunk(len(parts), dim=1), strict=True):
        head = _linear(model.weights, f"encoder_{part}", text)[:, None].expand(-1, config.classifier_samples, -1)
        latents.append(drawn(head, config.noise == "sample", draw))
    return torch.cat(latents, dim=-1)


def _seen_latents(model: SynSEModel, task: Task) -> Tensor:
    """(S, joint_samples, z_s) latents of training skeletons, class by class."""
    draw = generator(model.seed, "seen latents", device=task.features.device)
    rows = rows_of_classes(task.labels, len(task.seen), model.config.joint_samples, draw)
    return drawn(_linear(model.weights, "encoder_s", task.features[rows]), model.config.noise == "sample", draw)


def _seen_classifier(member: Member, features: Tensor) -> SoftmaxClassifier | None:
    """f_s, which depends on the task alone and is fitted once. features: the task's, on the device."""
    if member.config.seen_classifier == "logits":
        return None
    return fit_on_task(member.task, features, member.config.seen_classifier_c)
