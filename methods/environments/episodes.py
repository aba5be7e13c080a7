"""Episodes side by side, and the two ways in which Gymnasium plays them: one at a time, or several with every step."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Self

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space


class Unchanging:
    """What an environment is made of: Gymnasium copies it, and gets it itself, since nothing here ever changes."""

    def __deepcopy__(self, memo: object) -> Self:
        return self


class Episodes(ABC):
    """Several episodes side by side; one tensor operation serves all of them.

    ended: (count,) bool, those that are over until others begin at their places; truncated: whether an end is only the
    environment's limit, and not the task's.
    """

    truncated: ClassVar[bool]
    count: int
    observation_space: gym.spaces.Box
    action_space: gym.Space
    ended: np.ndarray

    @abstractmethod
    def begin(self, which: np.ndarray, draw: np.random.Generator) -> None:
        """New episodes at some places. which: (count,) bool."""

    @abstractmethod
    def observe(self) -> np.ndarray:
        """(count, …) float32."""

    @abstractmethod
    def act(self, actions: np.ndarray) -> np.ndarray:
        """(count,) rewards. actions: (count, …)."""

    def ends(self) -> tuple[np.ndarray, np.ndarray]:
        """(count,) bool each: which episodes are terminated, and which truncated."""
        return self.ended & (not self.truncated), self.ended & self.truncated


class OneEpisode(gym.Env):
    """One episode at a time."""

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012 (Gymnasium's own declaration)

    def __init__(self, episodes: Episodes, render_mode: None) -> None:
        self.episodes, self.render_mode = episodes, render_mode
        self.observation_space, self.action_space = episodes.observation_space, episodes.action_space

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self.episodes.begin(np.ones(1, bool), self.np_random)
        return self.episodes.observe()[0], {}

    def step(self, action: int | np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        reward = float(self.episodes.act(np.asarray(action)[None])[0])
        terminated, truncated = (bool(ends[0]) for ends in self.episodes.ends())
        return self.episodes.observe()[0], reward, terminated, truncated, {}


class SeveralEpisodes(VectorEnv):
    """Several episodes with every step; one that has ended begins anew with the next step, as is Gymnasium's custom."""

    metadata: dict[str, Any] = {"render_modes": [], "autoreset_mode": AutoresetMode.NEXT_STEP}  # noqa: RUF012

    def __init__(self, episodes: Episodes, render_mode: None) -> None:
        self.episodes, self.num_envs, self.render_mode = episodes, episodes.count, render_mode
        self.single_observation_space, self.single_action_space = episodes.observation_space, episodes.action_space
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self.episodes.begin(np.ones(self.num_envs, bool), self.np_random)
        return self.episodes.observe(), {}

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict]:
        begun = self.episodes.ended.copy()
        rewards = self.episodes.act(actions)
        rewards[begun] = 0.0
        self.episodes.begin(begun, self.np_random)
        return self.episodes.observe(), rewards, *self.episodes.ends(), {}
