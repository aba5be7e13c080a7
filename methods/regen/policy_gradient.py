"""Self-critical REINFORCE (Eq. 3): explored captions, judged against the greedy one."""

import torch
from torch import Tensor


def advantages(explored: Tensor, greedy: Tensor) -> Tensor:
    """r(w_b) − r(w_g), (N, K). explored: (N, K) rewards, greedy: (N,)."""
    return explored - greedy[:, None]


def reinforce_loss(log_probabilities: Tensor, advantage: Tensor, counted: Tensor) -> Tensor:
    """() whose gradient is minus Eq. 3's, a mean over the explored captions, to which those left out add nothing.

    Eq. 3 is printed with ∇p; REINFORCE's, whose expectation is the reward's gradient, is (r(w_b) − r(w_g)) ∇log p.

    log_probabilities: (N, K, T) of each token, 0 at padding; advantage: (N, K), or (N, K, T) where tokens have rewards
    of their own; counted: (N, K) bool, false where a reward is not finite.
    """
    if advantage.dim() == 2:
        advantage = advantage[..., None]
    own = (torch.where(counted[..., None], advantage, 0.0) * log_probabilities).sum(dim=-1)
    return -torch.where(counted, own, 0.0).mean()


def language_model_loss(log_probabilities: Tensor) -> Tensor:
    """() mean over tokens of −log p of the next one. log_probabilities: (N, T), 0 at padding."""
    tokens = (log_probabilities != 0).sum().clamp_min(1)
    return -log_probabilities.sum() / tokens
