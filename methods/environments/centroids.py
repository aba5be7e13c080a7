"""CLASTER's centroids as an environment: see a point, choose the centroid that it moves, be paid by the classifier.

An episode shows `horizon` points, drawn at random, to a classifier that does not change; the centroids start where they
stand and keep what the episode does to them. The reward is Eq. 4 for the point, classified with the centroids as the
action left them. (The paper has no environment: there the nearest centroid is always the one that moves.)

The observation is flat, since RLlib's networks want it so: the point ψ, its distances to the centroids, both brought to
a common scale, and the classifier's belief, the probabilities of the seen classes.

    gymnasium.make("unseen/Centroids-v0", clustering=clustering)
    gymnasium.make_vec("unseen/Centroids-v0", num_envs=64, vectorization_mode="vector_entry_point", vector_kwargs=...)

The discrete action is the centroid, moved by Eq. 5. The continuous one has K preferences, whose largest chooses, and a
step in −1 … 1 in place of the r (z − p_j) of Eq. 5.
"""

from collections.abc import Callable
from dataclasses import dataclass

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor

from methods.claster.clustering import distances, observed, reinforcement, represented
from methods.environments.episodes import Episodes, OneEpisode, SeveralEpisodes, Unchanging


@dataclass(frozen=True, eq=False)
class Clustering(Unchanging):
    """What the environment is made of. points: (N, W), ψ; labels: (N,) in 0 … S − 1; centroids: (K, W).

    classify: ω (…, W) to probabilities (…, S) of the seen classes.
    """

    points: Tensor
    labels: Tensor
    centroids: Tensor
    classify: Callable[[Tensor], Tensor]

    def scales(self) -> Tensor:
        """(2,): by which points, and distances to the centroids, are divided where they are observed."""
        rows = self.points[:4096]
        return torch.stack([rows.std(), distances(rows, self.centroids).mean()]).clamp_min(1e-6)


class _Episodes(Episodes):
    """Each with centroids of its own."""

    truncated = True

    def __init__(self, clustering: Clustering, count: int, horizon: int, continuous: bool, alpha: float) -> None:
        self.clustering, self.count, self.horizon = clustering, count, horizon
        self.continuous, self.alpha, self.scales = continuous, alpha, clustering.scales()
        clusters, width = clustering.centroids.shape
        self.classes = clustering.classify(clustering.centroids).shape[-1]
        low = np.concatenate([np.full(width, -np.inf), np.zeros(clusters + self.classes)]).astype(np.float32)
        high = np.concatenate([np.full(width + clusters, np.inf), np.full(self.classes, 1 + 1e-5)]).astype(np.float32)
        self.observation_space = gym.spaces.Box(low, high, dtype=np.float32)
        self.action_space: gym.Space = gym.spaces.Discrete(clusters)
        if continuous:
            self.action_space = gym.spaces.Box(-1.0, 1.0, (clusters + 1,), np.float32)
        self.centroids = clustering.centroids.repeat(count, 1, 1)  # (count, K, W)
        self.rows = torch.zeros(count, horizon, dtype=torch.long)
        self.step = torch.zeros(count, dtype=torch.long)
        self.ended = np.zeros(count, bool)

    def begin(self, which: np.ndarray, draw: np.random.Generator) -> None:
        own = torch.from_numpy(np.flatnonzero(which))
        self.rows[own] = torch.from_numpy(draw.integers(len(self.clustering.labels), size=(len(own), self.horizon)))
        self.centroids[own.to(self.centroids.device)] = self.clustering.centroids
        self.step[own] = 0
        self.ended[which] = False

    def observe(self) -> np.ndarray:
        """(count, W + K + S) float32, of the points that come next; what `act` needs is kept."""
        rows = self.rows[torch.arange(self.count), self.step.clamp(max=self.horizon - 1)]
        self.points, self.labels = (
            values[rows.to(values.device)] for values in (self.clustering.points, self.clustering.labels)
        )
        self.belief, self.d = self._classified()
        return observed(self.points, self.d, self.belief, self.scales).float().cpu().numpy()

    def act(self, actions: np.ndarray) -> np.ndarray:
        """(count,) rewards. actions: (count,) centroids, or (count, K + 1)."""
        given = torch.from_numpy(np.asarray(actions)).to(self.points.device)
        points, d = self.points[:, None], self.d[:, None]
        if self.continuous:
            chosen = given[:, :-1].argmax(dim=1)
            own = self.centroids[torch.arange(self.count), chosen]
            step = self.alpha * given[:, -1:].clamp(-1, 1).to(own.dtype)
            self.centroids[torch.arange(self.count), chosen] = own + step * (self.points - own)
        else:
            z = self.belief.gather(1, self.labels[:, None])
            right = torch.where(self.belief.argmax(dim=1) == self.labels, 1.0, -1.0)[:, None]
            chosen = given.long()[:, None]
            self.centroids += self.alpha * reinforcement(points, self.centroids, chosen, d, right, z)
        belief, _ = self._classified()
        self.step += 1
        self.ended = (self.step >= self.horizon).numpy()
        return torch.where(belief.argmax(dim=1) == self.labels, 1.0, -1.0).double().cpu().numpy()

    def _classified(self) -> tuple[Tensor, Tensor]:
        """Belief (count, S) and distances (count, K) of the points at hand."""
        points = self.points[:, None]
        d = distances(points, self.centroids)
        with torch.inference_mode():
            belief = self.clustering.classify(represented(points, self.centroids, d)[:, 0])
        return belief, d[:, 0]


class CentroidsEnv(OneEpisode):
    def __init__(
        self,
        clustering: Clustering,
        horizon: int = 32,
        continuous: bool = False,
        alpha: float = 0.1,
        render_mode: None = None,
    ) -> None:
        super().__init__(_Episodes(clustering, 1, horizon, continuous, alpha), render_mode)


class CentroidsVectorEnv(SeveralEpisodes):
    def __init__(
        self,
        clustering: Clustering,
        num_envs: int = 1,
        horizon: int = 32,
        continuous: bool = False,
        alpha: float = 0.1,
        render_mode: None = None,
    ) -> None:
        super().__init__(_Episodes(clustering, num_envs, horizon, continuous, alpha), render_mode)
