"""Captions by greedy decoding, beam search or sampling, all clips of a batch and all their captions side by side."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from platform.errors import InputError

Step = Callable[[Tensor, Tensor | None], Tensor]
"""(N, K, V) log-probabilities of the next token. Takes the last tokens (N, K), and which of a clip's K captions each
goes on from (N, K), None where each goes on from itself."""


@dataclass(frozen=True)
class Decoding:
    """How captions are found.

    kind: greedy takes the likeliest token, beam keeps the `count` likeliest beginnings, sample draws each token.
    count: K, captions a clip; of a beam search its width. Greedy decoding has one.
    temperature, top_p: of samples alone: what logits are divided by, and the probability of the smallest set of
    tokens that is drawn from (Holtzman et al., 2020).
    length_penalty: of a beam search alone: log-probabilities are ranked after division by length^length_penalty, the
    length with the end token (Wu et al., 2016, as transformers has it).
    generator: what samples are drawn from, on any device; torch's own where it is None.

    Raises InputError for values out of range.
    """

    kind: Literal["greedy", "beam", "sample"] = "greedy"
    count: int = 1
    temperature: float = 1.0
    top_p: float = 1.0
    length_penalty: float = 1.0
    generator: torch.Generator | None = None

    def __post_init__(self) -> None:
        if self.kind not in ("greedy", "beam", "sample"):
            raise InputError(f"kind={self.kind}: captions are found by greedy, beam or sample")
        if self.count < 1 or (self.kind == "greedy" and self.count != 1):
            raise InputError(f"count={self.count}: greedy decoding gives one caption a clip, the others one or more")
        if not self.temperature > 0:
            raise InputError(f"temperature={self.temperature}: give more than 0; kind=greedy is its limit")
        if not 0 < self.top_p <= 1:
            raise InputError(f"top_p={self.top_p}: give more than 0 and at most 1, which leaves no token out")


@dataclass(frozen=True)
class Captions:
    """K captions of each of N clips.

    tokens: (N, K, T) int64, from the beginning token to the end token and padding, T that of the longest; a caption
    that reached the largest length has no end token.
    log_probabilities: (N, K), log p_θ(w | v) of the tokens after the first, the end token's included: the model's own,
    whatever the temperature, top_p and penalty were. A beam search's captions come best first; where there are fewer
    captions than K at all, the rest have −∞.
    texts: the tokens as text.
    """

    tokens: Tensor
    log_probabilities: Tensor
    texts: list[list[str]]


@dataclass(frozen=True)
class Marks:
    """The tokens that are no words: what a caption begins with, ends with, and is filled up with."""

    begin: int
    end: int
    padding: int


def searched(step: Step, clips: int, decoding: Decoding, marks: Marks, length: int, device: torch.device) -> Captions:
    """Captions of so many clips, of at most `length` tokens, the beginning token included; their texts are empty."""
    if decoding.kind == "beam":
        return _beam_searched(step, clips, decoding, marks, length, device)
    return _rolled_out(step, clips, decoding, marks, length, device)


def _rolled_out(
    step: Step, clips: int, decoding: Decoding, marks: Marks, length: int, device: torch.device
) -> Captions:
    """Token after token, each caption for itself."""
    shape = (clips, decoding.count)
    noise = _noise((length - 1, *shape), decoding.generator, device) if decoding.kind == "sample" else None
    tokens = torch.full((*shape, length), marks.padding, device=device)
    tokens[..., 0] = marks.begin
    total, ended = torch.zeros(shape, device=device), torch.zeros(shape, dtype=torch.bool, device=device)
    for place in range(1, length):
        found = step(tokens[..., place - 1], None)
        chosen = found.argmax(dim=-1) if noise is None else _drawn(found, noise[place - 1], decoding)
        total += found.gather(-1, chosen[..., None])[..., 0].masked_fill(ended, 0.0)
        tokens[..., place] = chosen.masked_fill(ended, marks.padding)
        ended |= chosen == marks.end
        if bool(ended.all()):
            break
    return Captions(tokens[..., : place + 1], total, [])


def _noise(shape: tuple[int, ...], generator: torch.Generator | None, device: torch.device) -> Tensor:
    """Uniform numbers for all tokens at once: what a caption draws does not depend on where others end."""
    return torch.rand(shape, generator=generator, device=generator.device if generator else device).to(device)


def _drawn(found: Tensor, noise: Tensor, decoding: Decoding) -> Tensor:
    """(N, K) tokens, where the cumulated probability passes the noise. found: (N, K, V) log-probabilities."""
    probabilities, order = (found / decoding.temperature).softmax(dim=-1).sort(dim=-1, descending=True)
    below = probabilities.cumsum(dim=-1) - probabilities  # of all likelier tokens
    probabilities = torch.where(below < decoding.top_p, probabilities, 0.0)
    cumulated = probabilities.cumsum(dim=-1)
    target = (noise * cumulated[..., -1]).minimum(torch.nextafter(cumulated[..., -1], torch.zeros_like(noise)))
    place = torch.searchsorted(cumulated, target[..., None], right=True)  # right: never a token of probability 0
    return order.gather(-1, place)[..., 0]


def _beam_searched(
    step: Step, clips: int, decoding: Decoding, marks: Marks, length: int, device: torch.device
) -> Captions:
    """The `count` best captions among those that the beam has met, ranked with the length penalty.

    Every beginning in the beam may end at each step, and its end takes no other beginning's place. (transformers lets
    an end count where it is among the `count` likeliest continuations, which can miss the best caption that was met.)
    The search goes on until no beginning can become better than the worst caption that is kept.
    """
    width, penalty = decoding.count, decoding.length_penalty
    tokens = torch.full((clips, width, length), marks.padding, device=device)
    tokens[..., 0] = marks.begin
    live = torch.full((clips, width), -torch.inf, device=device)
    live[:, 0] = 0.0  # all beginnings are the same at first: one counts
    kept = _Kept(tokens, live.clone().fill_(-torch.inf), live.clone().fill_(-torch.inf))
    rows: Tensor | None = None
    for place in range(1, length):
        scores = live[..., None] + step(tokens[..., place - 1], rows)  # (N, K, V)
        ended = tokens.clone()
        ended[..., place] = marks.end
        kept = kept.with_captions(ended, scores[..., marks.end], place**penalty)
        scores[..., marks.end] = -torch.inf
        vocabulary = scores.shape[-1]
        live, chosen = scores.flatten(1).topk(width)
        rows = chosen // vocabulary
        tokens = tokens.gather(1, rows[..., None].expand_as(tokens))
        tokens[..., place] = chosen % vocabulary
        # a sum only falls; divided by a power of the length it is largest at the nearest or at the farthest end
        best = live[:, 0]
        bound = torch.maximum(best / (place + 1) ** penalty, best / (length - 1) ** penalty)
        if place + 1 < length and bool((kept.ranks[:, -1] >= bound).all()):
            break
    else:
        kept = kept.with_captions(tokens, live, (length - 1) ** penalty)  # cut off at the largest length
    longest = int((kept.tokens != marks.padding).sum(dim=-1).max())
    return Captions(kept.tokens[..., :longest], kept.sums, [])


@dataclass(frozen=True)
class _Kept:
    """The best whole captions so far, best first: tokens (N, K, T), log-probabilities and what ranks them (N, K)."""

    tokens: Tensor
    sums: Tensor
    ranks: Tensor

    def with_captions(self, tokens: Tensor, sums: Tensor, divisor: float) -> "_Kept":
        width = self.ranks.shape[1]
        ranks, places = torch.cat([self.ranks, sums / divisor], dim=1).topk(width)
        both = torch.cat([self.tokens, tokens], dim=1)
        return _Kept(
            both.gather(1, places[..., None].expand(-1, -1, both.shape[-1])),
            torch.cat([self.sums, sums], dim=1).gather(1, places),
            ranks,
        )
