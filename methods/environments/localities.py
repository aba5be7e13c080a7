"""ERPCNet's localities as an environment: see a part of an image, choose the next part, be paid by the classifier.

An episode is one image, drawn at random. Its networks have been trained (stage I) and do not change, so that every
cell's embedding is known beforehand and a step is a look-up and a joint prediction. The reward is Eq. 6; the episode
ends when it reaches σ, or after T steps, which both belong to the task: it is terminated, never truncated.

The observation is flat, since RLlib's networks want it so: an embedding, the global one at first and then the last
chosen locality's (Eq. 2), and a mask of the cells, 1 where one may be chosen. What came before is in the hidden state,
which is the policy's own.

    gymnasium.make("unseen/Localities-v0", localities=localities, sigma=0.5, steps=6)
    gymnasium.make_vec("unseen/Localities-v0", num_envs=64, vectorization_mode="vector_entry_point", localities=…, …)

The action is a cell. One that was visited may not be chosen again; a policy that does gets the next free cell, in the
cells' order and from the last one on to the first.
"""

from collections.abc import Callable
from dataclasses import dataclass

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor

from methods.environments.episodes import Episodes, OneEpisode, SeveralEpisodes, Unchanging
from methods.erpcnet.reward import reward


@dataclass(frozen=True, eq=False)
class Localities(Unchanging):
    """What the environment is made of: all that stage I fixed, computed once, all on one device.

    global_embeddings: (N, E); embeddings: (N, G, E), of every cell; ratios: (N, G), β of Eq. 7, ones without guidance;
    labels: (N,) in 0 … S − 1; global_probability: (N,), the label's by the global prediction.
    joint: (n, (T + 1)·E), the global embedding and the chosen localities' with zeros behind, to (n, S) probabilities.
    Environments in other processes are sent all of it: `joint` is to be picklable then, and all on the CPU.
    """

    global_embeddings: Tensor
    embeddings: Tensor
    ratios: Tensor
    labels: Tensor
    global_probability: Tensor
    joint: Callable[[Tensor], Tensor]


class _Episodes(Episodes):
    truncated = False

    def __init__(self, localities: Localities, count: int, sigma: float, steps: int) -> None:
        _, cells, width = localities.embeddings.shape
        if not 1 <= steps <= cells:
            raise ValueError(f"an episode of {steps} steps among {cells} cells, of which each is chosen once")
        self.localities, self.count, self.sigma, self.steps = localities, count, sigma, steps
        low = np.concatenate([np.full(width, -np.inf), np.zeros(cells)]).astype(np.float32)
        high = np.concatenate([np.full(width, np.inf), np.ones(cells)]).astype(np.float32)
        self.observation_space = gym.spaces.Box(low, high, dtype=np.float32)
        self.action_space = gym.spaces.Discrete(cells)
        device = localities.embeddings.device
        self.places, self.cells = torch.arange(count, device=device), torch.arange(cells, device=device)
        self.rows = torch.zeros(count, dtype=torch.long, device=device)
        self.step = torch.zeros(count, dtype=torch.long, device=device)
        self.free = torch.ones(count, cells, dtype=torch.bool, device=device)
        self.chosen = localities.embeddings.new_zeros(count, steps + 1, width)  # the global embedding, then localities
        self.ended = np.zeros(count, bool)

    def begin(self, which: np.ndarray, draw: np.random.Generator) -> None:
        own = torch.from_numpy(np.flatnonzero(which)).to(self.rows.device)
        rows = torch.from_numpy(draw.integers(len(self.localities.labels), size=len(own))).to(self.rows.device)
        self.rows[own], self.step[own], self.free[own], self.chosen[own] = rows, 0, True, 0.0
        self.chosen[own, 0] = self.localities.global_embeddings[rows].to(self.chosen.dtype)
        self.ended[which] = False

    def observe(self) -> np.ndarray:
        """(count, E + G) float32."""
        return torch.cat([self.chosen[self.places, self.step], self.free], dim=1).float().cpu().numpy()

    def act(self, actions: np.ndarray) -> np.ndarray:
        """(count,) rewards; `ended` says which episodes these end. actions: (count,) cells."""
        given = torch.from_numpy(np.asarray(actions, np.int64)).to(self.rows.device)
        order = (given[:, None] + self.cells) % len(self.cells)
        cell = order[self.places, self.free.gather(1, order).int().argmax(dim=1)]  # the given one, or the next free
        self.free[self.places, cell] = False
        self.step = (self.step + 1).clamp(max=self.steps)  # a vectorised environment steps once more before it begins
        self.chosen[self.places, self.step] = self.localities.embeddings[self.rows, cell]
        with torch.inference_mode():
            joint = self.localities.joint(self.chosen.flatten(1))
            given_by = (self.localities.global_probability, self.localities.labels)
            paid = reward(joint, *(values[self.rows] for values in given_by), self.localities.ratios[self.rows, cell])
            self.ended = ((paid >= self.sigma) | (self.step >= self.steps)).cpu().numpy()
            return paid.double().cpu().numpy()


class LocalitiesEnv(OneEpisode):
    def __init__(self, localities: Localities, sigma: float, steps: int, render_mode: None = None) -> None:
        super().__init__(_Episodes(localities, 1, sigma, steps), render_mode)


class LocalitiesVectorEnv(SeveralEpisodes):
    def __init__(
        self, localities: Localities, num_envs: int = 1, *, sigma: float, steps: int, render_mode: None = None
    ) -> None:
        super().__init__(_Episodes(localities, num_envs, sigma, steps), render_mode)
