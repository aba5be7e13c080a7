"""ReGen's captions as an environment: see a clip, say one token after the other, be paid for the caption.

An episode is one clip, drawn at random, and one caption of it. The reward comes with the caption's end, or at the
longest caption; where tokens have rewards of their own (the dense GRAMMAR-R, which a masked language model can only
tell of a whole caption), `reward` is their sum. Both ends belong to the task: an episode is terminated, never
truncated.

The observation is flat, since RLlib's networks want it so: CLIP's embedding of the clip, then the tokens so far as
numbers, padding behind. ReGen itself uses its own loop, which explores whole captions by beam search.

    gymnasium.make("unseen/Captions-v0", captioning=captioning)
    gymnasium.make_vec("unseen/Captions-v0", num_envs=64, vectorization_mode="vector_entry_point", captioning=…)

The action is a token. The beginning and the padding are no words of a caption: who says one of them says the end.
"""

from collections.abc import Callable
from dataclasses import dataclass

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor

from methods.environments.episodes import Episodes, OneEpisode, SeveralEpisodes, Unchanging


@dataclass(frozen=True, eq=False)
class Captioning(Unchanging):
    """What the environment is made of.

    clips: (N, d), embeddings of the clips. vocabulary: how many tokens there are; begin, end, padding: three of them.
    longest: tokens of a caption, the first and the end included. reward: rows (n,) of clips and tokens (n, T) of their
    captions to (n,).
    """

    clips: Tensor
    vocabulary: int
    begin: int
    end: int
    padding: int
    longest: int
    reward: Callable[[Tensor, Tensor], Tensor]


class _Episodes(Episodes):
    truncated = False

    def __init__(self, captioning: Captioning, count: int) -> None:
        if captioning.longest < 2:
            raise ValueError(f"a caption of {captioning.longest} tokens has no room for its first and its end")
        self.captioning, self.count = captioning, count
        width, length = captioning.clips.shape[1], captioning.longest
        low = np.concatenate([np.full(width, -np.inf), np.zeros(length)]).astype(np.float32)
        high = np.concatenate([np.full(width, np.inf), np.full(length, captioning.vocabulary - 1)]).astype(np.float32)
        self.observation_space = gym.spaces.Box(low, high, dtype=np.float32)
        self.action_space = gym.spaces.Discrete(captioning.vocabulary)
        self.rows = torch.zeros(count, dtype=torch.long)
        self.tokens = torch.full((count, length), captioning.padding)
        self.place = torch.ones(count, dtype=torch.long)  # of the next token
        self.ended = np.zeros(count, bool)

    def begin(self, which: np.ndarray, draw: np.random.Generator) -> None:
        own = torch.from_numpy(np.flatnonzero(which))
        self.rows[own] = torch.from_numpy(draw.integers(len(self.captioning.clips), size=len(own)))
        self.tokens[own], self.place[own] = self.captioning.padding, 1
        self.tokens[own, 0] = self.captioning.begin
        self.ended[which] = False

    def observe(self) -> np.ndarray:
        """(count, d + T) float32."""
        clips = self.captioning.clips[self.rows.to(self.captioning.clips.device)].cpu().float()
        return torch.cat([clips, self.tokens.float()], dim=1).numpy()

    def act(self, actions: np.ndarray) -> np.ndarray:
        """(count,) rewards; `ended` says which captions are whole. actions: (count,) tokens."""
        made, given = self.captioning, torch.from_numpy(np.asarray(actions, np.int64))
        given = torch.where((given == made.begin) | (given == made.padding), made.end, given)
        places = self.place.clamp(max=made.longest - 1)  # a vectorised environment steps once more before it begins
        self.tokens[torch.arange(self.count), places] = given
        self.place += 1
        self.ended = ((given == made.end) | (self.place >= made.longest)).numpy()
        rewards, whole = np.zeros(self.count), torch.from_numpy(np.flatnonzero(self.ended))
        if len(whole):
            with torch.inference_mode():
                rewards[self.ended] = made.reward(self.rows[whole], self.tokens[whole]).double().cpu().numpy()
        return rewards


class CaptionsEnv(OneEpisode):
    def __init__(self, captioning: Captioning, render_mode: None = None) -> None:
        super().__init__(_Episodes(captioning, 1), render_mode)


class CaptionsVectorEnv(SeveralEpisodes):
    def __init__(self, captioning: Captioning, num_envs: int = 1, *, render_mode: None = None) -> None:
        super().__init__(_Episodes(captioning, num_envs), render_mode)
