"""Iterations of an RLlib algorithm, from weights to weights, in a process that is left as it was."""

import logging
import shutil
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from torch import Tensor

from methods.environments.randomness import undisturbed

if TYPE_CHECKING:
    from ray.rllib.algorithms.ppo import PPOConfig


def connected() -> None:
    """Connect to Ray, if nobody has."""
    import ray

    if not ray.is_initialized():
        from platform import runtime

        runtime.connect(None)


def trained(config: "PPOConfig", state: Mapping[str, Tensor], iterations: int) -> dict[str, Tensor]:
    """A module's state after so many iterations, from another. state: by RLlib's names; others keep their start."""
    with _quiet(), undisturbed():
        algorithm = config.build_algo()
        try:
            algorithm.learner_group.foreach_learner(lambda learner: _load(learner, state))
            algorithm.env_runner_group.sync_weights(
                from_worker_or_learner_group=algorithm.learner_group, inference_only=True
            )
            for _ in range(iterations):
                algorithm.train()
            found = algorithm.learner_group.foreach_learner(_module_state)
            return next(iter(found)).get()
        finally:
            algorithm.stop()
            shutil.rmtree(algorithm.logdir, ignore_errors=True)  # an empty folder in the user's home, for each call


@contextmanager
def _quiet() -> Iterator[None]:
    logger = logging.getLogger("ray.rllib")
    level = logger.level
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            logger.setLevel(logging.ERROR)
            yield
    finally:
        logger.setLevel(level)


def _load(learner: Any, state: Mapping[str, Tensor]) -> None:
    learner.module["default_policy"].load_state_dict(state, strict=False)  # strict: it may have constants of its own


def _module_state(learner: Any) -> dict[str, Tensor]:
    return {name: tensor.cpu().clone() for name, tensor in learner.module["default_policy"].state_dict().items()}
