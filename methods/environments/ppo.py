"""RLlib's PPO on CLASTER's centroids: the policy that may choose in place of the nearest centroid.

Each call goes on from given weights with a new optimiser, and is a function of what it is given: a fit that was killed
goes on to the same policy. The weights are plain matrices, so that choosing needs neither Ray nor RLlib.
"""

import logging
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
from torch import Tensor

from methods.environments.centroids import CentroidsVectorEnv, Clustering
from methods.environments.randomness import undisturbed
from methods.environments.returns import returns_of

_PLACES = {  # our layers to RLlib's modules
    "policy_1": "encoder.actor_encoder.net.mlp.0",
    "policy_2": "encoder.actor_encoder.net.mlp.2",
    "policy_3": "pi.net.mlp.0",
    "value_1": "encoder.critic_encoder.net.mlp.0",
    "value_2": "encoder.critic_encoder.net.mlp.2",
    "value_3": "vf.net.mlp.0",
}
_ENVS = 32  # side by side; each step is one tensor operation for all of them


@dataclass(frozen=True)
class PPOOptions:
    """iterations: of a call; horizon: points of an episode; the rest as RLlib names it. PPO's clip is 0.2."""

    iterations: int
    horizon: int
    learning_rate: float
    hidden: int
    entropy: float = 0.01


def improved(
    weights: Mapping[str, Tensor], clustering: Clustering, alpha: float, options: PPOOptions, seed: int
) -> tuple[dict[str, Tensor], dict[str, float]]:
    """A policy after some iterations of PPO, and the mean returns per step of it and of a random one, each in −1 … 1.

    weights: `policy_1` … `value_3`, (rows, columns), and their biases (1, columns). Ray is connected if it is not yet.
    """
    import ray
    from ray.rllib.algorithms.ppo import PPOConfig
    from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig

    if not ray.is_initialized():
        from platform import runtime

        runtime.connect(None)
    given = {"clustering": clustering, "horizon": options.horizon, "alpha": alpha}
    steps = _ENVS * options.horizon
    config = (
        PPOConfig()
        .environment("unseen/Centroids-v0", env_config=given)
        .framework("torch")
        .env_runners(
            num_env_runners=0,
            num_envs_per_env_runner=_ENVS,
            gym_env_vectorize_mode=gym.VectorizeMode.VECTOR_ENTRY_POINT,
            rollout_fragment_length=options.horizon,
        )
        .learners(num_learners=0)
        .training(
            train_batch_size_per_learner=steps,
            minibatch_size=min(256, steps),
            num_epochs=4,
            lr=options.learning_rate,
            use_kl_loss=False,
            clip_param=0.2,
            entropy_coeff=options.entropy,
        )
        .rl_module(
            model_config=DefaultModelConfig(
                fcnet_hiddens=[options.hidden] * 2, fcnet_activation="tanh", vf_share_layers=False
            )
        )
        .debugging(seed=seed, log_level="ERROR")
    )
    state = _as_rllib(weights)
    with warnings.catch_warnings(), undisturbed():
        warnings.simplefilter("ignore")
        logging.getLogger("ray.rllib").setLevel(logging.ERROR)
        algorithm = config.build_algo()
        try:
            algorithm.learner_group.foreach_learner(lambda learner: _load(learner, state))
            algorithm.env_runner_group.sync_weights(
                from_worker_or_learner_group=algorithm.learner_group, inference_only=True
            )
            for _ in range(options.iterations):
                result = algorithm.train()
            found = algorithm.learner_group.foreach_learner(_module_state)
            learned = _as_ours(next(iter(found)).get())
        finally:
            algorithm.stop()
    env = CentroidsVectorEnv(clustering, _ENVS, options.horizon, alpha=alpha)
    returns = {
        "policy_return": result["env_runners"]["episode_return_mean"] / options.horizon,
        "random_return": returns_of(env, None, seed)[0].mean() / options.horizon,
    }
    return learned, {name: float(value) for name, value in returns.items()}


def _load(learner: Any, state: Mapping[str, Tensor]) -> None:
    learner.module["default_policy"].load_state_dict(state, strict=False)  # strict: it has constants of its own


def _module_state(learner: Any) -> dict[str, Tensor]:
    return {name: tensor.cpu().clone() for name, tensor in learner.module["default_policy"].state_dict().items()}


def _as_rllib(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    state = {}
    for ours, theirs in _PLACES.items():
        state[f"{theirs}.weight"] = weights[ours].T.contiguous().cpu()
        state[f"{theirs}.bias"] = weights[f"{ours}_bias"][0].cpu()
    return state


def _as_ours(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    weights = {}
    for ours, theirs in _PLACES.items():
        weights[ours] = state[f"{theirs}.weight"].T.contiguous()
        weights[f"{ours}_bias"] = state[f"{theirs}.bias"][None]
    return weights
