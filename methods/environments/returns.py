"""What episodes of a vectorised environment return, one at each of its places."""

from collections.abc import Callable

import numpy as np
from gymnasium.vector import VectorEnv


def returns_of(
    env: VectorEnv, choose: Callable[[np.ndarray], np.ndarray] | None, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Returns and lengths, (num_envs,) each, of the first episode at every place: short ones count once, as long ones.

    choose: observations (n, …) of the first step, the second, and so on, to actions (n, …); None: at random.
    """
    observations, _ = env.reset(seed=seed)
    env.action_space.seed(seed)
    total, steps, going = np.zeros(env.num_envs), np.zeros(env.num_envs, int), np.ones(env.num_envs, bool)
    while going.any():
        actions = env.action_space.sample() if choose is None else choose(observations)
        observations, rewards, terminated, truncated, _ = env.step(actions)
        total[going] += rewards[going]
        steps += going
        going &= ~(terminated | truncated)
    return total, steps
