"""Few-shot: a trained model goes on from a few clips of each of its unseen classes (Table 6)."""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace

import torch
from torch import Tensor

from methods.regen.config import ReGenConfig
from methods.regen.model import ReGenModel
from platform.errors import InputError
from platform.method import Learner


def going_on(
    model: ReGenModel, config: ReGenConfig, learner_of: Callable[[Mapping[str, Tensor]], Learner]
) -> ReGenModel:
    """The model after `config.epochs` more, begun at its weights with a new optimiser.

    learner_of: a state to the learner of the few clips. Raises InputError where the configuration has nothing to learn
    by or another captioner than the model, or where the losses are no longer finite.
    """
    if config.objective == "none":
        raise InputError(
            "objective=none learns nothing from a few samples: give --set objective=rewards or class_names"
        )
    if config.captioner != model.config.captioner:
        raise InputError(
            f"captioner={config.captioner}: the model's is {model.config.captioner}, and goes on; leave it out"
        )
    state = {"epoch": torch.tensor(0), "alive": torch.tensor(True), "without_reward": torch.tensor(0)}
    learner = learner_of(state | {f"weights.{name}": tensor for name, tensor in model.weights.items()})
    for epoch in range(config.epochs):
        if not math.isfinite(learner.train_epoch()["loss"]):
            raise InputError(
                f"learning_rate={config.learning_rate:g}: the losses of epoch {epoch + 1} of the few samples are not "
                "finite; give a smaller one as --set learning_rate=…"
            )
    return replace(model, weights=learner.model().weights)
