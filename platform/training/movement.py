"""Whether a configuration can move a model's weights far enough on data of a given size to learn anything.

Adam moves a weight by at most about its learning rate a step, whatever the gradients are, so learning rate times
optimiser steps bounds how far any weight gets from where it began. Papers choose their rates for data of tens of
thousands of samples; on a few hundred, as many epochs are a hundredth of the steps, and nothing fails or warns.

How far is far enough depends on what a method does. One that only compares samples with classes (SMIE, ReViSE, JPoSE)
recognises unseen classes of UTD-MHAD after moving by 0.003 and 0.03. A variational autoencoder does not: its latents
begin as noise of variance 1 around means that hardly differ, and both have to move first. On UTD-MHAD's Shift-GCN
features (351 clips, chance 20 %) SA-DVAE stays at chance at 0.004, 0.011 and 0.034, by a small rate as by few epochs,
and has 39 % at 0.11; CADA-VAE has 13 % at 0.006, H 0 at 0.014, and 36 % at 0.05. So a method names its own bound,
`Method.least_movement`, and one that names none is never doubted. The bound is necessary, not sufficient: on AwA1
SA-DVAE's default configuration moves by 0.2 and is near chance all the same, with a learning rate thirty times as large
too, since its weights of the KL terms are too large for those features.
"""

import math
from dataclasses import dataclass

from platform.method import Method, MethodConfig

_MARGIN = 2.5  # over the bound: what is suggested should train, and not just move
_HIGHEST_RATE = 1e-3  # that is suggested; beyond it, more epochs are


@dataclass(frozen=True)
class TooLittle:
    """steps: of the whole training; movement: of a weight, at most; least: its bound; fitting: better values."""

    steps: int
    movement: float
    least: float
    fitting: dict[str, float | int]


def too_little_movement(method: Method, config: MethodConfig, samples: int) -> TooLittle | None:
    """What to say of a configuration that cannot train on so many samples; None of one that may."""
    least = method.least_movement
    if not least:
        return None
    steps = method.steps(config, samples)
    movement = steps * config.learning_rate
    if movement >= least:
        return None
    rate = _one_digit(_MARGIN * least / steps)
    fitting: dict[str, float | int] = {"learning_rate": min(rate, _HIGHEST_RATE)}
    if rate > _HIGHEST_RATE:
        fitting["epochs"] = math.ceil(config.epochs * _MARGIN * least / (steps * _HIGHEST_RATE))
    return TooLittle(steps, movement, least, fitting)


def _one_digit(value: float) -> float:
    """The next larger number of one digit: 0.001 for 0.00091."""
    power = 10.0 ** math.floor(math.log10(value))
    return float(f"{math.ceil(value / power - 1e-9) * power:.0e}")
