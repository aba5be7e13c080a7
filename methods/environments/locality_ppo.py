"""RLlib's PPO on ERPCNet's localities (stage II): the policy that chooses where to look.

Each call goes on from given weights with a new optimiser, and is a function of what it is given: a fit that was killed
goes on to the same policy.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor

from methods.environments.localities import Localities, LocalitiesVectorEnv
from methods.environments.returns import returns_of
from methods.environments.running import connected, trained
from methods.erpcnet.policy import LocalityPolicy
from methods.erpcnet.walks import by_policy

PLACES = {  # see `as_rllib`
    "encoder_1": "encoder_1.{}",
    "encoder_2": "encoder_2.{}",
    "policy": "policy.{}",
    "value": "value.{}",
    "gru_in": "gru.{}_ih_l0",
    "gru_hidden": "gru.{}_hh_l0",
}
_MINIBATCH = 16  # episodes


@dataclass(frozen=True)
class LocalityPPOOptions:
    """iterations: of a call; steps: T; sigma: the reward that ends an episode; the rest as RLlib names it, or below.

    envs: environments side by side, in each process; episodes: as many as fit an iteration when none ends before T;
    env_runners: processes that play, 0 for this one alone, in which alone a call gives the same numbers every time.
    """

    iterations: int
    steps: int
    sigma: float
    learning_rate: float = 3e-4
    envs: int = 32
    episodes: int = 128
    env_runners: int = 0
    sigmoid_head: bool = False


def improved(
    weights: Mapping[str, Tensor], localities: Localities, options: LocalityPPOOptions, seed: int
) -> tuple[dict[str, Tensor], dict[str, float]]:
    """A policy after some iterations of PPO, and how it and a random one fare.

    weights: as of `first_weights`. The second gives `policy_return`, `policy_steps`, `random_return`, `random_steps`,
    means over `episodes` images: the policy is judged by its first choices, as it is used, on the same images as the
    random one, and neither chooses a cell twice. Ray is connected if it is not yet.
    """
    connected()
    config = _configured(weights, localities, options, seed)
    learned = trained(config, weights, PLACES, options.iterations)
    return learned, _fared(learned, localities, options, seed)


def _configured(weights: Mapping[str, Tensor], localities: Localities, options: LocalityPPOOptions, seed: int) -> Any:
    """RLlib's PPOConfig, of the paper's appendix where that says anything."""
    from ray.rllib.algorithms.ppo import PPOConfig
    from ray.rllib.core.rl_module.rl_module import RLModuleSpec

    from methods.environments.locality_module import LocalityModule

    places = options.envs * max(1, options.env_runners)
    fragment = -(-options.episodes * options.steps // places)
    row = options.steps + 1  # an episode, and the observation after its last action, which RLlib adds
    encoder, hidden = weights["encoder_2"].shape
    return (
        PPOConfig()
        .environment(
            "unseen/Localities-v0",
            env_config={"localities": localities, "sigma": options.sigma, "steps": options.steps},
        )
        .framework("torch")
        .env_runners(
            num_env_runners=options.env_runners,
            num_cpus_per_env_runner=0,  # they play while the learner waits, so that one more CPU each need not be free
            num_envs_per_env_runner=options.envs,
            gym_env_vectorize_mode=gym.VectorizeMode.VECTOR_ENTRY_POINT,
            rollout_fragment_length=fragment,
        )
        .fault_tolerance(restart_failed_env_runners=False)  # a lost process ends the call, which can be made again
        .learners(num_learners=0)
        .training(
            train_batch_size_per_learner=fragment * places,
            minibatch_size=min(_MINIBATCH * row, fragment * places),  # RLlib counts steps, those that fill rows up too
            num_epochs=4,
            lr=options.learning_rate,
            gamma=0.99,  # γ (Eq. 9)
            lambda_=1.0,  # Eq. 11
            clip_param=0.2,  # ε (Eq. 12)
            use_kl_loss=False,
            vf_loss_coeff=0.5,  # α₁ (Eq. 13)
            vf_clip_param=float("inf"),  # Eq. 13 has none
            entropy_coeff=0.01,  # α₂ (Eq. 13)
        )
        .rl_module(
            rl_module_spec=RLModuleSpec(
                module_class=LocalityModule,
                model_config={
                    "encoder": encoder,
                    "hidden": hidden,
                    "sigmoid_head": options.sigmoid_head,
                    "max_seq_len": row,
                },
            )
        )
        .debugging(seed=seed, log_level="ERROR")
    )


def _fared(
    weights: Mapping[str, Tensor], localities: Localities, options: LocalityPPOOptions, seed: int
) -> dict[str, float]:
    """Mean returns and lengths of episodes, on the same images, of the policy's first choices and of random ones."""
    env = LocalitiesVectorEnv(localities, options.episodes, sigma=options.sigma, steps=options.steps)
    cells, fared = localities.embeddings.shape[1], {}
    choosers = {
        "policy": _first_choices(LocalityPolicy(weights, options.sigmoid_head), options.episodes, cells),
        "random": _random_choices(cells, np.random.default_rng(seed)),
    }
    for name, choose in choosers.items():
        returns, steps = returns_of(env, choose, seed)
        fared |= {f"{name}_return": float(returns.mean()), f"{name}_steps": float(steps.mean())}
    return fared


def _first_choices(policy: LocalityPolicy, places: int, cells: int) -> Callable[[np.ndarray], np.ndarray]:
    """Observations (places, E + G), step after step from the episodes' first one, to the preferred cells (places,)."""
    choose = by_policy(policy, places, torch.device("cpu"))

    def chosen(observations: np.ndarray) -> np.ndarray:
        seen = torch.from_numpy(observations)
        return choose(0, seen[:, :-cells], seen[:, -cells:] < 0.5).numpy()

    return chosen


def _random_choices(cells: int, draw: np.random.Generator) -> Callable[[np.ndarray], np.ndarray]:
    """Observations (places, E + G) to cells (places,), any free one as likely as any other."""
    return lambda observations: (observations[:, -cells:] * draw.uniform(0.5, 1, (len(observations), cells))).argmax(1)
