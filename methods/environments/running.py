"""Iterations of an RLlib algorithm, from weights to weights, in a process that is left as it was."""

import logging
import shutil
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
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


def trained(
    config: "PPOConfig", weights: Mapping[str, Tensor], places: Mapping[str, str], iterations: int
) -> dict[str, Tensor]:
    """Weights after so many iterations, from others; what a module has besides keeps its start. As for `as_rllib`."""
    import ray

    state = as_rllib(weights, places)
    if config.num_env_runners and ray.util.get_current_placement_group():
        # RLlib takes any group that it finds, as in a worker of Train or Tune, for one with bundles for its processes
        elsewhere = ray.remote(num_cpus=0, scheduling_strategy="DEFAULT")(_iterated)
        return as_ours(ray.get(elsewhere.remote(config, state, iterations, torch.get_num_threads())), places)
    return as_ours(_iterated(config, state, iterations, torch.get_num_threads()), places)


def _iterated(config: "PPOConfig", state: Mapping[str, Tensor], iterations: int, threads: int) -> dict[str, Tensor]:
    torch.set_num_threads(threads)
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


def as_rllib(weights: Mapping[str, Tensor], places: Mapping[str, str]) -> dict[str, Tensor]:
    """A module's state. weights: (rows, columns), and `NAME_bias` (1, columns).

    places: our layers to RLlib's names, with `{}` where those say `weight` or `bias`.
    """
    state = {}
    for ours, theirs in places.items():
        state[theirs.format("weight")] = weights[ours].T.contiguous().cpu()
        state[theirs.format("bias")] = weights[f"{ours}_bias"][0].cpu()
    return state


def as_ours(state: Mapping[str, Tensor], places: Mapping[str, str]) -> dict[str, Tensor]:
    """The inverse of `as_rllib`."""
    weights = {}
    for ours, theirs in places.items():
        weights[ours] = state[theirs.format("weight")].T.contiguous()
        weights[f"{ours}_bias"] = state[theirs.format("bias")][None]
    return weights


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
