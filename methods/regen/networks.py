"""A pretrained captioning network by its parts: a vision tower and a text decoder.

transformers' models take a picture and repeat it for every caption. Here a clip's visual tokens are made once, their
keys and values once for all its captions, and only the text's are kept for each. So the layers are gone through here,
with transformers' own modules and weights; tests compare the two.

N clips, K captions each, T tokens, L visual tokens, H heads of width e, d = H·e.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import Parameter
from torch.utils.checkpoint import checkpoint

from methods.regen.attention import Attention, Cache, Extended, Pair
from methods.regen.decoding import Marks


class CaptioningNetwork(nn.Module, ABC):
    """A vision tower and a text decoder, taken apart. The pretrained model is `pretrained`."""

    marks: Marks
    side: int  # of the pictures, in pixels
    positions: int  # longest text
    vocabulary: int
    features: int  # width of what the vision tower gives

    def __init__(self, pretrained: nn.Module) -> None:
        super().__init__()
        self.pretrained = pretrained
        self.checkpointing = False

    @abstractmethod
    def vision(self, pixels: Tensor) -> Tensor:
        """(B, L, features) of pictures (B, 3, side, side)."""

    @abstractmethod
    def joined(self, features: Tensor) -> Tensor:
        """(N, L, d): a clip's visual tokens from its frames', (N, F, L, features), with the temporal embedding."""

    @abstractmethod
    def memory(self, visual: Tensor) -> list[Pair]:
        """Each layer's keys and values of the visual tokens, (N, H, L, e). visual: (N, L, d)."""

    @abstractmethod
    def projection(self) -> Iterator[Parameter]:
        """The parameters between the vision tower and the text decoder."""

    @abstractmethod
    def vision_parameters(self) -> Iterator[Parameter]:
        """Those of the vision tower."""

    def initial_temporal(self, frames: int) -> Tensor:
        """(F, 1, features), where the temporal embedding starts: zero."""
        return torch.zeros(frames, 1, self.features)

    def empty_cache(self) -> Cache:
        return Cache([None] * len(self._layers()))

    def text(self, tokens: Tensor, memory: list[Pair], cache: Cache | None) -> tuple[Tensor, Attention]:
        """(N, K, T, d) after the last layer, and that layer's attention.

        tokens: (N, K, T), those that follow what the cache holds.
        """
        clips, captions, length = tokens.shape
        start = cache.length if cache else 0
        hidden = self._embeddings()(input_ids=tokens.flatten(0, 1), past_key_values_length=start)
        hidden = hidden.view(clips, captions, length, -1)
        for number, (layer, seen) in enumerate(zip(self._layers(), memory, strict=True)):
            extended = partial(cache.extended, number) if cache else None
            hidden, attention = self._run(self._text_layer, layer, hidden, seen, extended)
        if cache:
            cache.length += length
        return hidden, attention

    def log_probabilities(self, hidden: Tensor) -> Tensor:
        """(…, V) float32 of the next token, −∞ for the beginning and the padding, which no caption has inside."""
        return self.logits(hidden).log_softmax(dim=-1)

    def logits(self, hidden: Tensor) -> Tensor:
        """(…, V) float32, −∞ for the beginning and the padding."""
        found = self._head()(hidden).float()
        found[..., self.marks.begin] = found[..., self.marks.padding] = -torch.inf
        return found

    @abstractmethod
    def _embeddings(self) -> nn.Module: ...

    @abstractmethod
    def _layers(self) -> nn.ModuleList: ...

    @abstractmethod
    def _head(self) -> nn.Module: ...

    @abstractmethod
    def _text_layer(
        self, layer: Any, hidden: Tensor, seen: Pair, extended: Extended | None
    ) -> tuple[Tensor, Attention]: ...

    def _run(self, function: Callable, *values: Any) -> Any:
        """The function's result; with checkpointing its activations are computed again in the backward pass."""
        if self.checkpointing and torch.is_grad_enabled():
            return checkpoint(function, *values, use_reentrant=False)
        return function(*values)
