"""SA-DVAE: semantic alignment by disentangled variational autoencoders (Li et al., ECCV 2024).

A two-head skeleton encoder gives z_x^r, which is aligned with the text latent z_y, and z_x^v, which holds what the text
does not say. An adversary D_T keeps the two independent. Written as a population: every parameter carries a leading
member axis, and one model is a population of one.

Where the paper and its released code differ, the paper is the default and the preset `released` gives the code's
choices. Three things the paper leaves open are taken from the code: a reconstruction error is the mean over elements, a
KL divergence the sum over latent dimensions, and single layers start Xavier-uniform with gain 0.5.

D_T's own step is the paper's after the VAEs' step, on the latents that these were trained with, and its turns are
counted through all epochs. discriminator=released has the code's: before the VAEs' step, on latents drawn afresh, its
turns counted anew in each epoch, and as much on the text's latents as on the skeleton's. The code permutes both z^v and
z^r; the pairs that this gives are those of one permutation, in another order, over which the loss is a mean.

C_u is fitted anew after each epoch. SynSE's 300 full-batch steps of Adam (classifier_fit=adam) end before it is fitted
where classes lie near each other, as they do in latents with a deviation of one: on UTD-MHAD's Shift-GCN features they
recognise 54 % (ru5) and 33 % (ru9) of the unseen clips where its least loss, lightly penalised, recognises 61 and 44
(three seeds, twentieth epoch), in a fifth of the time. That is the default; the code's ReLU on the logits wants Adam.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal, Self

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import logsigmoid

from methods.latents import check_classifier, classifiers_on, training_of
from methods.outputs import warn_of_relu
from methods.vae import LEAST_MOVEMENT, Latent, Reconstruction, crossed, crossed_slopes
from platform.errors import InputError, InputWarning
from platform.learning.stacked import StackedPopulation
from platform.method import PAPERS_GATE, Member, Method, MethodConfig, Model, Population
from platform.population.adam import PopulationAdam
from platform.population.draws import generator
from platform.population.layers import stacked_product, xavier
from platform.population.noise import EpochNoise
from platform.population.schedules import epoch_progress, ramp
from platform.workers import Workers
from platform.zeroshot.classifiers import SoftmaxClassifier, fit_on_features, fit_on_task
from platform.zeroshot.task import Task

# rows and columns of each layer's matrix, part by part; an encoder's columns are its means, then its log-variances
_LAYERS = {
    "encoder_x": (("features",), ("z_v", "z_r", "z_v", "z_r")),
    "encoder_y": (("text",), ("z_r", "z_r")),
    "decoder_x": (("z_v", "z_r"), ("features",)),
    "decoder_y": (("z_r",), ("text",)),
    "discriminator_1": (("z_v", "z_r"), ("hidden",)),
    "discriminator_2": (("hidden",), ("one",)),
}
_LOSSES = ("reconstruction", "cross_alignment", "kl_x", "kl_y", "total_correlation", "discriminator")


class SADVAEConfig(MethodConfig):
    """Hyperparameters of SA-DVAE; the defaults are Table 2's for NTU-60, 55/5 split."""

    z_r: int = Field(160, ge=1, description="width of z_x^r and z_y (Table 2)")
    z_v: int = Field(8, ge=1, description="width of z_x^v (Table 2)")
    beta_x: float = Field(0.023, ge=0, description="weight of both skeleton KL terms (Eq. 2; Table 2)")
    beta_y: float = Field(0.011, ge=0, description="weight of the text KL term (Eq. 3; Table 2)")
    lambda_1: float = Field(1.0, ge=0, description="weight of the cross-alignment loss once it is on (Eq. 7)")
    lambda_2: float = Field(0.011, ge=0, description="weight of the total correlation penalty (Eq. 7; Table 2)")
    n_d: int = Field(5, ge=1, description="VAE steps for each step of the discriminator D_T (Table 2)")
    learning_rate: float = Field(3.39e-5, gt=0, description="of Adam, for the VAEs and D_T (Table 2)")
    batch_size: int = Field(32, ge=2, description="samples a step (Table 2)")
    epochs: int = Field(10, ge=1, description="passes over the training samples (Table 2)")
    alignment: Literal["fd+tc", "fd", "naive"] = Field(
        "fd+tc", description="fd: without D_T; naive: without D_T and the z_x^v head (the ablations of Tables 6 and 7)"
    )
    annealing: Literal["paper", "released"] = Field(
        "paper", description="Eq. 13, or the released code's: later ramps, text and D_T off in the first two epochs"
    )
    noise: Literal["dimension", "sample"] = Field(
        "dimension", description="a normal draw for each latent dimension, or one for all of a sample (released)"
    )
    adversary: Literal["log", "probability"] = Field(
        "log", description="the encoder minimises Eq. 6, or the mean of D_T(z_x) (released)"
    )
    discriminator: Literal["paper", "released"] = Field(
        "paper",
        description="D_T's step: after the VAEs', on their latents, or before it, on both modalities drawn afresh, and "
        "counted anew in each epoch (released)",
    )
    output_relu: bool = Field(False, description="ReLU on the decoders' outputs (released)")
    classifier_relu: bool = Field(False, description="ReLU on the unseen classifier's logits (released)")
    classifier_samples: int = Field(500, ge=1, description="latents generated for each unseen class (SynSE, 2.6)")
    classifier_fit: Literal["penalised", "adam"] = Field(
        "penalised",
        description="C_u: the layer of least penalised loss (ours), or full-batch steps of Adam (SynSE, 2.6)",
    )
    classifier_c: float = Field(
        0.1, gt=0, description="inverse L2 penalty of C_u on standardised latents (scikit-learn's C; ours)"
    )
    classifier_steps: int = Field(300, ge=1, description="of Adam, for C_u (SynSE, 2.6)")
    classifier_learning_rate: float = Field(1e-3, gt=0, description="of C_u's Adam (SynSE, 2.6)")
    seen_classifier: Literal["features", "latent", "logits", "logits-or-features"] = Field(
        "features",
        description="input of C_s: f_x (Eq. 10), z_x^r (Table 8), or none: the extractor's logits take its place "
        "(released), which the data set must bring, or f_x where it brings none",
    )
    seen_classifier_c: float = Field(1.0, gt=0, description="inverse L2 penalty of C_s (scikit-learn's C)")
    combination: Literal["soft", "hard", "stacking"] = Field(
        "soft", description="p(y|x) of Eq. 11, a hard gate with a chosen threshold (released), or calibrated stacking"
    )


@dataclass(frozen=True)
class SADVAEModel(Model):
    """A trained SA-DVAE of one member.

    weights: the matrices of `_LAYERS` at the member's own widths, and their biases (1, columns) as `LAYER_bias`.
    """

    config: SADVAEConfig
    seed: int
    weights: dict[str, Tensor] = field(repr=False)
    semantics: Tensor = field(repr=False)  # (U, T) of the unseen classes
    unseen_classifier: SoftmaxClassifier = field(repr=False)
    seen_classifier: SoftmaxClassifier | None = field(repr=False)  # None where logits are given

    def latent(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Means of z_x^r (N, z_r) and z_x^v (N, z_v). x: (N, D)."""
        mean = (x @ self.weights["encoder_x"] + self.weights["encoder_x_bias"]).chunk(2, dim=1)[0]
        z_v = mean.shape[1] - self.config.z_r
        return mean[:, z_v:], mean[:, :z_v]

    def latents(self, x: Tensor) -> dict[str, Tensor]:
        z_r, z_v = self.latent(x)
        return {"z_r": z_r, "z_v": z_v} if z_v.shape[1] else {"z_r": z_r}

    def unseen_scores(self, x: Tensor) -> Tensor:
        return self.unseen_classifier.log_probabilities(self.latent(x)[0])

    def seen_scores(self, x: Tensor, logits: Tensor | None = None) -> Tensor:
        if self.seen_classifier is None:
            if logits is None or not torch.isfinite(logits).all():
                asked = self.config.seen_classifier
                raise InputError(f"seen_classifier={asked}: these samples have no logits; use seen_classifier=features")
            return torch.log_softmax(logits, dim=1)
        return self.seen_classifier.log_probabilities(
            self.latent(x)[0] if self.config.seen_classifier == "latent" else x
        )

    def with_classes(self, names: Sequence[str], semantics: Tensor) -> Self:
        semantics = semantics.to(self.semantics)
        if semantics.dim() != 2 or semantics.shape[1] != self.semantics.shape[1]:
            expected = self.semantics.shape[1]
            raise InputError(
                f"semantics of new classes: shape {tuple(semantics.shape)}, expected (classes, {expected})"
            )
        classifier = _unseen_classifiers([self.weights], [semantics], [self.config], [self.seed])[0]
        return replace(self, unseen=tuple(names), semantics=semantics, unseen_classifier=classifier)

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        tensors = {f"weights.{name}": tensor for name, tensor in self.weights.items()} | {"semantics": self.semantics}
        for name in ("unseen_classifier", "seen_classifier"):
            if classifier := getattr(self, name):
                tensors |= {f"{name}.weight": classifier.weight, f"{name}.bias": classifier.bias}
        return tensors, {"config": self.config.model_dump(), "seed": self.seed}

    @classmethod
    def from_state(cls, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> Self:
        config = SADVAEConfig(**values["config"])
        seen = None
        if "seen_classifier.weight" in tensors:
            seen = SoftmaxClassifier(tensors["seen_classifier.weight"], tensors["seen_classifier.bias"])
        return cls(
            seen=values["seen"],
            unseen=values["unseen"],
            combination=values["combination"],
            config=config,
            seed=values["seed"],
            weights={n.removeprefix("weights."): t for n, t in tensors.items() if n.startswith("weights.")},
            semantics=tensors["semantics"],
            unseen_classifier=SoftmaxClassifier(
                tensors["unseen_classifier.weight"], tensors["unseen_classifier.bias"], config.classifier_relu
            ),
            seen_classifier=seen,
        )


class SADVAE(Method):
    """The method; see the module."""

    Config = SADVAEConfig
    Model = SADVAEModel
    least_movement = LEAST_MOVEMENT
    data_parallel = "shares"
    pack_by = ("batch_size", "output_relu", "adversary", "discriminator")
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
        # the released code's choices, where they differ from the paper's
        "released": {
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

    def population(self, members: Sequence[Member], workers: Workers) -> Population:
        """Members that train side by side. They share `pack_by`; task, seed and every other field may differ.

        Raises InputError where given logits are wanted and there are none, or C_u has a ReLU and is not fitted by Adam.
        Warns where features take the place of logits that would have been preferred.
        """
        for member in members:
            check_classifier(member.config)
        if any(m.config.seen_classifier == "logits" and m.task.logits is None for m in members):
            raise InputError("seen_classifier=logits: the data folder has no logits; use seen_classifier=features")
        if any(m.config.seen_classifier == "logits-or-features" and m.task.logits is None for m in members):
            warnings.warn("sadvae: the data folder has no logits, so C_s is fitted on the features", InputWarning, 2)
        warn_of_relu("sadvae", members)
        return _Population(members, workers)


method = SADVAE()


class _Population(StackedPopulation):
    """SA-DVAE's members; see `platform.learning.stacked`."""

    layout = _LAYERS

    def __init__(self, members: Sequence[Member], workers: Workers) -> None:
        self.configs: list[SADVAEConfig] = [m.config for m in members]
        self.config = self.configs[0]  # for the fields of `pack_by`
        super().__init__(members, workers)
        self.z_v = self.layers.widest["z_v"]
        self.discriminator_steps = torch.tensor([c.n_d for c in self.configs], device=self.device)
        self.adversarial = torch.tensor([c.alignment == "fd+tc" for c in self.configs], device=self.device)
        self.step = self.replayed(self._take_step)

    def widths_of(self, member: Member) -> dict[str, int]:
        config = member.config
        z_v = 0 if config.alignment == "naive" else config.z_v
        return {
            "features": member.task.features.shape[1],
            "text": member.task.semantics.shape[1],
            "z_v": z_v,
            "z_r": config.z_r,
            "hidden": max(1, (z_v + config.z_r) // 4),
            "one": 1,
        }

    def initial_weights(self, member: Member) -> dict[str, Tensor]:
        """Each head starts by itself; biases start at zero."""
        widths, draw = self.widths_of(member), generator(member.seed, "weights")
        weights = {}
        for layer, (rows, columns) in _LAYERS.items():
            fan_in = sum(widths[part] for part in rows)
            weights[layer] = torch.cat([xavier(fan_in, widths[head], 0.5, draw) for head in columns], dim=1)
            weights[f"{layer}_bias"] = torch.zeros(1, weights[layer].shape[1])
        return weights

    def make_optimisers(self) -> Sequence[PopulationAdam]:
        vae = {n: p for n, p in self.layers.parameters.items() if not n.startswith("discriminator")}
        adversary = {n: p for n, p in self.layers.parameters.items() if n.startswith("discriminator")}
        rates = [c.learning_rate for c in self.configs]
        self.optimiser, self.adversary_optimiser = PopulationAdam(vae, rates), PopulationAdam(adversary, rates)
        return self.optimiser, self.adversary_optimiser

    def next_epoch(self) -> list[dict[str, float]]:
        batch_size = self.config.batch_size
        mine = self.workers.share(batch_size)
        steps, rows = self.data.batches(self.epochs, batch_size)  # steps: of each member
        rows = rows[:, :, mine]  # (longest, members, batch)
        weights = self._loss_weights(steps)  # (longest, 6, members)
        noise, fresh = self._noise(mine), self._fresh_noise(mine)
        active, due = self._taking_part(steps)
        penalised = (weights[:, 4] > 0) & self.adversarial  # (longest, members): where the total correlation counts
        kinds = list(zip(active.all(1).tolist(), penalised.any(1).tolist(), due.any(1).tolist(), strict=True))
        losses = torch.zeros(len(rows), len(_LOSSES), len(self.members), device=self.device)
        for step, kind in enumerate(kinds):
            drawn = [part for one in (noise, *fresh) for part in one.step(step)]
            losses[step] = self.step(kind, rows[step], weights[step], active[step], due[step], *drawn)
        counted = torch.stack([active] * 4 + [active & penalised, due], dim=1)
        totals = torch.where(counted, losses, 0.0).sum(dim=0, dtype=torch.float64).float()
        counts = counted.sum(dim=0)
        counts[4:].clamp_(min=1)
        return self.report(_LOSSES, self.workers.average([totals])[0] / counts)

    def _take_step(
        self,
        kind: tuple[bool, bool, bool],
        rows: Tensor,
        weights: Tensor,
        active: Tensor,
        due: Tensor,
        noise: Tensor,
        order: Tensor,
        *fresh: Tensor,
    ) -> Tensor:
        """One step of all members; gives `_LOSSES` (6, members).

        kind: whether all members take part, the total correlation counts for any, and D_T is due for any. rows, order:
        (members, batch); weights: (6, members); active, due: (members,); noise: (members, batch, z_v + 2·z_r); fresh:
        the noise (members, batch, z_v + z_r) and the order of each modality's latents for D_T, where they are its own.
        """
        everyone, penalised, adversary = kind
        x, y = self.data.batch(rows)
        z_r = self.layers.widest["z_r"]
        noise_x, noise_y = noise.split([self.z_v + z_r, z_r], dim=-1)
        latent_x = Latent.sample(self.layers("encoder_x", x), noise_x)
        latent_y = Latent.sample(self.layers("encoder_y", y), noise_y)
        own = torch.zeros_like(weights[0])
        if adversary and fresh:
            own = self._train_adversary(*self._redrawn(latent_x, latent_y, *fresh), weights[5], due)
        losses = self._differentiate(x, y, latent_x, latent_y, order if penalised else None, weights)
        gradients = [self.layers.gradients[name] for name in self.optimiser.parameters]
        self.optimiser.step(self.workers.average(gradients), None if everyone else active)
        if adversary and not fresh:
            own = self._train_adversary(latent_x.z, order, weights[5], due)
        return torch.cat([losses, own[None]])

    def models(self, indices: Sequence[int]) -> list[SADVAEModel]:
        """Some members as they are now, each with its classifiers."""
        weights = [self.layers.own(m, self.layers.parameters) for m in indices]
        unseen = [self.data.unseen_semantics(m) for m in indices]
        configs, seeds = [self.configs[m] for m in indices], [self.members[m].seed for m in indices]
        models = []
        for i, classifier in enumerate(_unseen_classifiers(weights, unseen, configs, seeds)):
            member, task = self.members[indices[i]], self.data.tasks[indices[i]]
            model = SADVAEModel(
                seen=member.task.seen,
                unseen=member.task.unseen,
                combination=None,
                config=member.config,
                seed=member.seed,
                weights=weights[i],
                semantics=unseen[i],
                unseen_classifier=classifier,
                seen_classifier=None,
            )
            models.append(replace(model, seen_classifier=_seen_classifier(model, member.task, task)))
        return models

    def _noise(self, mine: slice, parts: Sequence[str] = ("z_v", "z_r", "z_r"), purpose: str = "") -> EpochNoise:
        return EpochNoise(
            [m.seed for m in self.members],
            self.epochs,
            parts,
            self.widths,
            [c.noise == "sample" for c in self.configs],
            self.config.batch_size,
            mine,
            self.device,
            purpose,
        )

    def _fresh_noise(self, mine: slice) -> list[EpochNoise]:
        """Of the latents z_x and z_x^v beside z_y on which D_T is trained, where they are drawn for it alone."""
        if self.config.discriminator == "paper":
            return []
        return [self._noise(mine, ("z_v", "z_r"), f"discriminator {modality}") for modality in ("x", "y")]

    def _redrawn(
        self, latent_x: Latent, latent_y: Latent, noise_x: Tensor, order_x: Tensor, noise_y: Tensor, order_y: Tensor
    ) -> tuple[Tensor, Tensor]:
        """What D_T is trained on, as the released code has it: z_x, then z_x^v beside z_y, each drawn afresh.

        noise_x, noise_y: (members, batch, z_v + z_r); order_x, order_y: (members, batch). Gives (members, 2·batch,
        z_v + z_r), and the order in which the samples' z_x^v are permuted, within each modality.
        """
        z_x = torch.addcmul(latent_x.mean, latent_x.deviation, noise_x)
        style, text = noise_y.split([self.z_v, latent_y.mean.shape[-1]], dim=-1)
        z_v = torch.addcmul(latent_x.mean[..., : self.z_v], latent_x.deviation[..., : self.z_v], style)
        z_y = torch.addcmul(latent_y.mean, latent_y.deviation, text)
        order = torch.cat([order_x, order_y + order_x.shape[1]], dim=1)
        return torch.cat([z_x, torch.cat([z_v, z_y], dim=-1)], dim=1), order

    def _differentiate(
        self, x: Tensor, y: Tensor, latent_x: Latent, latent_y: Latent, order: Tensor | None, weights: Tensor
    ) -> Tensor:
        """Write the gradients of Eq. 7 for the VAEs; gives the five loss terms (5, members).

        x: (members, batch, D), y: (members, batch, T), weights: (6, members). The total correlation is left out where
        `order` is None.
        """
        _, lambda_1, beta_x, beta_y, lambda_2, _ = weights
        for_x, for_y = crossed(latent_x.z, latent_y.z, self.z_v)
        own_and_crossed = torch.stack([torch.ones_like(lambda_1), lambda_1], dim=1)
        error_x, slope_for_x = self._decode("decoder_x", for_x, x, own_and_crossed)
        error_y, slope_for_y = self._decode("decoder_y", for_y, y, own_and_crossed)
        slope_x, slope_y = crossed_slopes(slope_for_x, slope_for_y, self.z_v)
        correlation = torch.zeros_like(lambda_2)
        if order is not None:
            value, slope = self._total_correlation(latent_x.z, order)
            correlation = torch.where(self.adversarial, value, correlation)
            slope_x += slope.mul_((lambda_2 * self.adversarial)[:, None, None])
        self.layers.write_slopes("encoder_x", x, latent_x.slope(slope_x, beta_x))
        self.layers.write_slopes("encoder_y", y, latent_y.slope(slope_y, beta_y))
        own, cross = (error_x + error_y).unbind(1)
        return torch.stack([own, cross, latent_x.divergence, latent_y.divergence, correlation])

    def _decode(self, layer: str, latents: Tensor, target: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        """(members, 2) errors of own and cross reconstruction, and the latents' slope; writes the layer's gradients."""
        decoded = self.layers(layer, latents)
        positive = decoded > 0 if self.config.output_relu else None
        reconstruction = Reconstruction.of(decoded.relu_() if self.config.output_relu else decoded, target)
        slope = reconstruction.slope(weight)
        if positive is not None:
            slope *= positive
        self.layers.write_slopes(layer, latents, slope)
        return reconstruction.errors, stacked_product(slope, self.layers.parameters[layer].transpose(1, 2))

    def _total_correlation(self, z_x: Tensor, order: Tensor) -> tuple[Tensor, Tensor]:
        """(members,) what the encoder minimises, L_T of Eq. 6 or the mean of D_T(z_x), and its slope in z_x."""
        batch = z_x.shape[1]
        _, hidden, logits = self._discriminate(z_x, order)
        if self.config.adversary == "probability":
            value = logits[:, :batch].sigmoid().mean(dim=1)
            probability = logits.sigmoid()
            slope_logits = probability * (1 - probability) / batch
            slope_logits[:, batch:] = 0.0
        else:
            value, slope_logits = self._log_likelihood(logits)
        slope = stacked_product(
            self._slope_hidden(hidden, slope_logits), self.layers.parameters["discriminator_1"].transpose(1, 2)
        )
        slope_z, altered = slope[:, :batch], slope[:, batch:]
        slope_z[..., self.z_v :] += altered[..., self.z_v :]
        places = order[..., None].expand(-1, -1, self.z_v)
        slope_z[..., : self.z_v].scatter_add_(1, places, altered[..., : self.z_v])
        return value, slope_z

    def _train_adversary(self, z: Tensor, order: Tensor, weight: Tensor, due: Tensor) -> Tensor:
        """One step of D_T for the members that are due, maximising Eq. 6; gives its cross-entropy (members,).

        z: (members, samples, z_v + z_r), order: (members, samples).
        """
        inputs, hidden, logits = self._discriminate(z, order)
        value, slope_logits = self._log_likelihood(logits)
        slope_logits *= -0.5 * weight[:, None]
        self.layers.write_slopes("discriminator_2", hidden, slope_logits[..., None])
        self.layers.write_slopes("discriminator_1", inputs, self._slope_hidden(hidden, slope_logits))
        gradients = [self.layers.gradients[name] for name in self.adversary_optimiser.parameters]
        self.adversary_optimiser.step(self.workers.average(gradients), due)
        return -0.5 * value

    def _discriminate(self, z: Tensor, order: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """D_T, a two-layer network, on z and then on z̃, in which z^v is another sample's by `order`.

        Gives the input (members, 2·samples, z_v + z_r), the hidden layer and the logits (members, 2·samples).
        """
        z_v = z[..., : self.z_v].gather(1, order[..., None].expand(-1, -1, self.z_v))
        inputs = torch.cat([z, torch.cat([z_v, z[..., self.z_v :]], dim=-1)], dim=1)
        hidden = self.layers("discriminator_1", inputs).relu_()
        return inputs, hidden, self.layers("discriminator_2", hidden).squeeze(-1)

    def _log_likelihood(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """(members,) L_T = log D_T(z_x) + log(1 − D_T(z̃_x)), a mean over the batch (Eq. 6), and its slope in logits."""
        batch = logits.shape[1] // 2
        signed = torch.cat([logits[:, :batch], -logits[:, batch:]], dim=1)
        slope = torch.sigmoid(-signed).div_(batch)
        slope[:, batch:].neg_()
        return logsigmoid(signed).sum(dim=1) / batch, slope

    def _slope_hidden(self, hidden: Tensor, slope_logits: Tensor) -> Tensor:
        return slope_logits[..., None] * self.layers.parameters["discriminator_2"].transpose(1, 2) * (hidden > 0)

    def _taking_part(self, steps: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Two (longest, members) bool: whom a step of the VAEs and of D_T moves. A shorter member idles at the end."""
        count, epoch = torch.tensor([steps, self.epochs], device=self.device)
        step = torch.arange(max(steps), device=self.device)[:, None]
        active = self.alive & (step < count)
        before = epoch * count if self.config.discriminator == "paper" else 0
        return active, active & self.adversarial & ((before + step + 1) % self.discriminator_steps == 0)

    def _loss_weights(self, steps: Sequence[int]) -> Tensor:
        """(longest, 6, members): the weight of each of `_LOSSES` at each step: 1, λ1', β_x', β_y', λ2', D_T's own."""
        columns = []
        for config, count, epoch in zip(self.configs, steps, self.epochs, strict=True):
            progress = torch.nn.functional.pad(epoch_progress(count), (0, max(steps) - count))
            on = torch.ones_like(progress)
            if config.annealing == "paper":
                first = second = ramp(progress, 1 / 3)
                cross, discriminator = on * (epoch > 0), on
            else:
                first = ramp(progress, 10 / 17)
                second = ramp(progress, 0.8) * (epoch > 1)
                cross, discriminator = (progress > 0.8).float(), second * config.lambda_2
            columns.append(
                torch.stack(
                    [
                        on,
                        config.lambda_1 * cross,
                        config.beta_x * first,
                        config.beta_y * second,
                        config.lambda_2 * second,
                        discriminator,
                    ],
                    dim=1,
                )
            )
        return torch.stack(columns, dim=2).to(self.device)


def _unseen_classifiers(
    weights: Sequence[Mapping[str, Tensor]],
    semantics: Sequence[Tensor],
    configs: Sequence[SADVAEConfig],
    seeds: Sequence[int],
) -> list[SoftmaxClassifier]:
    """C_u of each member (Eq. 8), on latents drawn from its text encoder. semantics: one (U, T) a member."""
    everyone = list(zip(weights, semantics, configs, seeds, strict=True))
    return classifiers_on(
        [[_generated(*member)] for member in everyone],
        [training_of(config) for config in configs],
        [config.classifier_relu for config in configs],
        [generator(seed, "unseen classifier") for seed in seeds],
    )


def _generated(weights: Mapping[str, Tensor], semantics: Tensor, config: SADVAEConfig, seed: int) -> Tensor:
    """(U, classifier_samples, z_r) latents of the unseen classes."""
    mean, logvar = (semantics @ weights["encoder_y"] + weights["encoder_y_bias"]).chunk(2, dim=1)
    width = config.z_r if config.noise == "dimension" else 1
    draw = generator(seed, "latents", device=semantics.device)
    noise = torch.randn(len(semantics), config.classifier_samples, width, generator=draw, device=semantics.device)
    return mean[:, None] + (0.5 * logvar).exp()[:, None] * noise


def _seen_classifier(model: SADVAEModel, task: Task, on_device: Task) -> SoftmaxClassifier | None:
    """C_s; on f_x it depends on the task alone and is fitted once."""
    config = model.config
    if config.seen_classifier.startswith("logits") and task.logits is not None:
        return None
    if config.seen_classifier == "latent":
        latent = model.latent(on_device.features)[0]
        return fit_on_features(latent, on_device.labels, len(task.seen), config.seen_classifier_c)
    return fit_on_task(task, on_device.features, config.seen_classifier_c)
