"""Attention of captions to themselves and to the visual tokens that the captions of a clip share.

N clips, K captions each, T tokens, L visual tokens, H heads of width e, d = H·e.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

Pair = tuple[Tensor, Tensor]  # keys and values
Extended = Callable[[Pair], Pair]  # those of the next tokens to those of all so far


@dataclass
class Cache:
    """Keys and values of the text so far, (N, H, K, t, e), a pair a layer."""

    pairs: list[Pair | None]
    length: int = 0

    def extended(self, layer: int, pair: Pair) -> Pair:
        """The layer's keys and values with those of the next tokens, which are kept."""
        before = self.pairs[layer]
        if before is not None:
            pair = (torch.cat([before[0], pair[0]], dim=3), torch.cat([before[1], pair[1]], dim=3))
        self.pairs[layer] = pair
        return pair

    def reorder(self, rows: Tensor) -> None:
        """Let each of a clip's K captions go on from another one. rows: (N, K)."""
        for layer, pair in enumerate(self.pairs):
            if pair is not None:
                index = rows[:, None, :, None, None].expand_as(pair[0])
                self.pairs[layer] = (pair[0].gather(2, index), pair[1].gather(2, index))


@dataclass(frozen=True)
class Attention:
    """Probabilities of a layer, (N, H, K, T, L) of text to image and (N, H, K, T, t) of text to text."""

    image: Tensor
    text: Tensor


def heads(values: Tensor, attention: Any) -> Tensor:
    """(N, H, L, e) of (N, L, d)."""
    return values.unflatten(-1, (attention.num_attention_heads, -1)).transpose(1, 2)


def text_heads(values: Tensor, attention: Any) -> Tensor:
    """(N, H, K, T, e) of (N, K, T, d)."""
    return values.unflatten(-1, (attention.num_attention_heads, -1)).permute(0, 3, 1, 2, 4)


def queried(hidden: Tensor, attention: Any, extended: Extended | None) -> tuple[Tensor, Pair]:
    """A self-attention's queries (N, H, K, T, e), and its keys and values with those before, (N, H, K, t, e)."""
    query, keys, values = (
        text_heads(part(hidden), attention) for part in (attention.query, attention.key, attention.value)
    )
    return query, extended((keys, values)) if extended else (keys, values)


def joined_heads(context: Tensor) -> Tensor:
    """(N, K, T, d) of (N, H, K, T, e)."""
    return context.permute(0, 2, 3, 1, 4).flatten(3)


def shared_product(left: Tensor, right: Tensor) -> Tensor:
    """(N, H, K, T, b): K captions times what they share. left: (N, H, K, T, a); right: (N, H, a, b)."""
    return (left.flatten(2, 3) @ right).unflatten(2, left.shape[2:4])


def masked(scores: Tensor) -> Tensor:
    """Scores (…, T, t) of the last T of t tokens, −∞ for the tokens that come later."""
    queries, keys = scores.shape[-2:]
    later = torch.ones(queries, keys, dtype=torch.bool, device=scores.device).triu(keys - queries + 1)
    return scores.masked_fill(later, -torch.inf)


def attended(query: Tensor, keys: Tensor, values: Tensor, dropout: nn.Dropout) -> Tensor:
    return scaled_dot_product_attention(query, keys, values, dropout_p=dropout.p if dropout.training else 0.0)


def finished(layer: Any, attention: Any, context: Tensor, hidden: Tensor) -> Tensor:
    """The rest of a layer after an attention: its output with the residual, and the feed-forward network."""
    return layer.feed_forward_chunk(attention.output(context, hidden))
