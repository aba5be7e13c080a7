"""Whether a configuration can move a model far enough, on data of a given size, to learn anything.

Adam moves a weight by at most about its learning rate a step, whatever the gradients are. So an output of a layer that
reads class text y moves by at most learning rate × steps × (1 + Σ|y_i|), the 1 for its bias. Papers choose their rates
for tens of thousands of samples; on a few hundred, as many epochs are a hundredth of the steps, and nothing fails.

How far is far enough depends on what a method does. One that only compares samples with classes recognises unseen ones
of UTD-MHAD after next to nothing (SMIE 0.05, ReViSE 0.5). A variational autoencoder does not: its latents of class text
begin as noise of variance 1 around means that hardly differ, and the log-variance has to fall by ln 4 = 1.4 before the
noise is half as large. Measured under the clean protocol, two to four seeds, chance in brackets: SA-DVAE on UTD-MHAD's
Shift-GCN features (351 clips; 20 %) has 14 % at 0.06, 22 % at 0.2, 21 % at 0.6, whether by a larger rate or by more
epochs, 46 % at 1.1 and 39 % at 1.8; on AwA1 (one seed; 10 %) 12 % at 1.4, by default. CADA-VAE, whose hidden layers add
their own movement, has 13 % at 0.1, H 0 at 0.2, and 36 % at 0.8. So a method names its bound, `Method.least_movement`;
one that names none never gets a warning. A bound warns a little too early rather than too late, and is not sufficient:
on AwA1 SA-DVAE has 13 % at 42, too, until its KL weights are smaller (36 %), which a search finds.
"""

import math
from dataclasses import dataclass

from platform.method import Method, ScoringConfig, epochs_of
from platform.zeroshot.task import Task

_MARGIN = 2.5  # factor over the bound, so that the suggested values train well
_HIGHEST_RATE = 1e-3  # the highest rate to suggest; beyond it, more epochs are suggested


@dataclass(frozen=True)
class TooLittle:
    """steps: of the whole training; movement: of an output, at most; least: its bound; fitting: better values."""

    steps: int
    movement: float
    least: float
    fitting: dict[str, float | int]


def too_little_movement(method: Method, config: ScoringConfig, task: Task) -> TooLittle | None:
    """The finding for a configuration that cannot train on a task's samples; None where it may."""
    least = method.least_movement
    if not least:
        return None
    steps = method.steps(config, len(task.labels))
    reach = steps * (1 + task.semantics.abs().sum(dim=1).mean().item())  # at a learning rate of 1
    movement = config.learning_rate * reach
    if movement >= least:
        return None
    rate = _one_digit(_MARGIN * least / reach)
    fitting: dict[str, float | int] = {"learning_rate": min(rate, _HIGHEST_RATE)}
    if rate > _HIGHEST_RATE:
        fitting["epochs"] = math.ceil(epochs_of(config) * _MARGIN * least / (reach * _HIGHEST_RATE))
    return TooLittle(steps, movement, least, fitting)


def _one_digit(value: float) -> float:
    """The next larger number of one digit: 0.001 for 0.00091."""
    power = 10.0 ** math.floor(math.log10(value))
    return float(f"{math.ceil(value / power - 1e-9) * power:.0e}")
