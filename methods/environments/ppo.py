"""RLlib's PPO on CLASTER's centroids: the policy that may choose in place of the nearest centroid.

Each call goes on from given weights with a new optimiser, and is a function of what it is given: a fit that was killed
goes on to the same policy. The weights are plain matrices, so that choosing needs neither Ray nor RLlib.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import gymnasium as gym
import torch
from torch import Tensor

from methods.claster.clustering import preferences
from methods.environments.centroids import CentroidsVectorEnv, Clustering
from methods.environments.returns import returns_of
from methods.environments.running import connected, trained

_PLACES = {  # see `as_rllib`
    "policy_1": "encoder.actor_encoder.net.mlp.0.{}",
    "policy_2": "encoder.actor_encoder.net.mlp.2.{}",
    "policy_3": "pi.net.mlp.0.{}",
    "value_1": "encoder.critic_encoder.net.mlp.0.{}",
    "value_2": "encoder.critic_encoder.net.mlp.2.{}",
    "value_3": "vf.net.mlp.0.{}",
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
    """A policy after some iterations of PPO; and mean rewards a step, −1 … 1, of it, the nearest centroid and chance.

    weights: `policy_1` … `value_3`, (rows, columns), and their biases (1, columns). The policy is judged by its first
    choices, as it is used, on the same episodes as the others. Ray is connected if it is not yet.
    """
    connected()
    from ray.rllib.algorithms.ppo import PPOConfig
    from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig

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
    learned = trained(config, weights, _PLACES, options.iterations)
    env = CentroidsVectorEnv(clustering, _ENVS, options.horizon, alpha=alpha)
    width = clustering.points.shape[1]
    nearest = slice(width, width + len(clustering.centroids))  # where an observation holds the distances
    choosers = {
        "policy_return": lambda seen: preferences(learned, torch.from_numpy(seen)).argmax(dim=1).numpy(),
        "nearest_return": lambda seen: seen[:, nearest].argmin(axis=1),
        "random_return": None,
    }
    means = {name: returns_of(env, choose, seed)[0].mean() for name, choose in choosers.items()}
    return learned, {name: float(mean) / options.horizon for name, mean in means.items()}
