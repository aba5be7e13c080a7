"""GIT (Wang et al., 2022) and BLIP (Li et al., 2022) as a video captioner needs them: by their parts.

transformers' models take a picture and repeat it for every caption. Here a clip's visual tokens are made once, their
keys and values once for all its captions, and only the text's are kept for each. So the layers are gone through here,
with transformers' own modules and weights; tests compare the two.

N clips, K captions each, T tokens, L visual tokens, H heads of width e, d = H·e.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from torch.nn.parameter import Parameter
from torch.utils.checkpoint import checkpoint

from methods.regen.decoding import Marks

Pair = tuple[Tensor, Tensor]  # keys and values


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
        self,
        layer: Any,
        hidden: Tensor,
        seen: Pair,
        extended: Callable[[Pair], Pair] | None,
    ) -> tuple[Tensor, Attention]: ...

    def _run(self, function: Callable, *values: Any) -> Any:
        """The function's result; with checkpointing its activations are computed again in the backward pass."""
        if self.checkpointing and torch.is_grad_enabled():
            return checkpoint(function, *values, use_reentrant=False)
        return function(*values)


class GitNetwork(CaptioningNetwork):
    """GIT: visual tokens, projected, stand before the text in one self-attention; they do not see the text."""

    def __init__(self, pretrained: Any) -> None:
        super().__init__(pretrained)
        config = pretrained.config
        self.marks = Marks(config.bos_token_id, _first(config.eos_token_id), config.pad_token_id)
        self.side, self.positions = config.vision_config.image_size, config.max_position_embeddings
        self.features, self.vocabulary = config.vision_config.hidden_size, config.vocab_size
        # the video models' own temporal embeddings, which only transformers' forward would use
        trained = getattr(pretrained.git, "img_temporal_embedding", None)
        self._temporal = None if trained is None else torch.cat([own.detach().clone() for own in trained])
        if trained is not None:
            del pretrained.git.img_temporal_embedding

    def initial_temporal(self, frames: int) -> Tensor:
        """(F, 1, features): those of a model that was trained on clips of as many frames, else zero."""
        if self._temporal is not None and len(self._temporal) == frames:
            return self._temporal
        return super().initial_temporal(frames)

    def vision(self, pixels: Tensor) -> Tensor:
        tower = self.pretrained.git.image_encoder.vision_model
        hidden = tower.pre_layrnorm(tower.embeddings(pixels))
        for layer in tower.encoder.layers:
            hidden = self._run(layer, hidden, None)
        return tower.post_layernorm(hidden)

    def joined(self, features: Tensor) -> Tensor:
        """Projected, then averaged over time: by the projection's layer norm the temporal embedding tells the order."""
        return self.pretrained.git.visual_projection(features).mean(dim=1)

    def memory(self, visual: Tensor) -> list[Pair]:
        pairs, hidden = [], visual
        for number, layer in enumerate(self._layers()):
            hidden, *pair = self._run(self._visual_layer, layer, hidden, number + 1 < len(self._layers()))
            pairs.append(tuple(pair))
        return pairs

    def projection(self) -> Iterator[Parameter]:
        return self.pretrained.git.visual_projection.parameters()

    def vision_parameters(self) -> Iterator[Parameter]:
        return self.pretrained.git.image_encoder.parameters()

    def _embeddings(self) -> nn.Module:
        return self.pretrained.git.embeddings

    def _layers(self) -> nn.ModuleList:
        return self.pretrained.git.encoder.layer

    def _head(self) -> nn.Module:
        return self.pretrained.output

    def _visual_layer(self, layer: Any, hidden: Tensor, goes_on: bool) -> tuple[Tensor, Tensor, Tensor]:
        """A layer among the visual tokens: what it gives, its keys and its values. Nothing follows the last layer's."""
        own = layer.attention.self
        keys, values = _heads(own.key(hidden), own), _heads(own.value(hidden), own)
        if goes_on:
            context = _attended(_heads(own.query(hidden), own), keys, values, own.dropout)
            hidden = _finished(layer, layer.attention, context.transpose(1, 2).flatten(2), hidden)
        return hidden, keys, values

    def _text_layer(
        self,
        layer: Any,
        hidden: Tensor,
        seen: Pair,
        extended: Callable[[Pair], Pair] | None,
    ) -> tuple[Tensor, Attention]:
        own = layer.attention.self
        query, *pair = (_text_heads(part(hidden), own) for part in (own.query, own.key, own.value))
        if extended:
            pair = extended(tuple(pair))
        lengths = [seen[0].shape[2], pair[0].shape[3]]
        to_image = _shared_product(query, seen[0].transpose(-1, -2)) / own.attention_head_size**0.5
        to_text = _masked(query @ pair[0].transpose(-1, -2) / own.attention_head_size**0.5)
        both = torch.cat([to_image, to_text], dim=-1).float().softmax(dim=-1)
        attention = Attention(*both.split(lengths, dim=-1))
        image, text = own.dropout(both).to(query.dtype).split(lengths, dim=-1)
        context = _shared_product(image, seen[1]) + text @ pair[1]
        return _finished(layer, layer.attention, _joined_heads(context), hidden), attention


class BlipNetwork(CaptioningNetwork):
    """BLIP: each layer of the text decoder reads the visual tokens by cross-attention, after its self-attention."""

    def __init__(self, pretrained: Any) -> None:
        super().__init__(pretrained)
        text, vision = pretrained.config.text_config, pretrained.config.vision_config
        # the decoder was trained to end with [SEP]; the configuration's eos_token_id is another token
        self.marks = Marks(text.bos_token_id, text.sep_token_id, text.pad_token_id)
        self.side, self.positions = vision.image_size, text.max_position_embeddings
        self.features, self.vocabulary = vision.hidden_size, text.vocab_size

    def vision(self, pixels: Tensor) -> Tensor:
        tower = self.pretrained.vision_model
        hidden = tower.embeddings(pixels)
        for layer in tower.encoder.layers:
            hidden = self._run(layer, hidden)
        return tower.post_layernorm(hidden)

    def joined(self, features: Tensor) -> Tensor:
        """The mean over time: of a temporal embedding it keeps the mean, so that it can only shift all clips."""
        return features.mean(dim=1)

    def memory(self, visual: Tensor) -> list[Pair]:
        cross = [layer.crossattention.self for layer in self._layers()]
        return [(_heads(own.key(visual), own), _heads(own.value(visual), own)) for own in cross]

    def projection(self) -> Iterator[Parameter]:
        """None: cross-attention takes the vision tower's tokens as they are, by keys and values of the decoder."""
        return iter(())

    def vision_parameters(self) -> Iterator[Parameter]:
        return self.pretrained.vision_model.parameters()

    def _embeddings(self) -> nn.Module:
        return self.pretrained.text_decoder.bert.embeddings

    def _layers(self) -> nn.ModuleList:
        return self.pretrained.text_decoder.bert.encoder.layer

    def _head(self) -> nn.Module:
        return self.pretrained.text_decoder.cls

    def _text_layer(
        self,
        layer: Any,
        hidden: Tensor,
        seen: Pair,
        extended: Callable[[Pair], Pair] | None,
    ) -> tuple[Tensor, Attention]:
        own = layer.attention.self
        query, *pair = (_text_heads(part(hidden), own) for part in (own.query, own.key, own.value))
        if extended:
            pair = extended(tuple(pair))
        scores = _masked(query @ pair[0].transpose(-1, -2) / own.attention_head_size**0.5)
        to_text = scores.float().softmax(dim=-1)
        context = own.dropout(to_text).to(query.dtype) @ pair[1]
        hidden = layer.attention.output(_joined_heads(context), hidden)
        cross = layer.crossattention.self
        query = _text_heads(cross.query(hidden), cross)
        scores = _shared_product(query, seen[0].transpose(-1, -2)) / cross.attention_head_size**0.5
        to_image = scores.float().softmax(dim=-1)
        context = _shared_product(cross.dropout(to_image).to(query.dtype), seen[1])
        return _finished(layer, layer.crossattention, _joined_heads(context), hidden), Attention(to_image, to_text)


def _first(token: int | list[int]) -> int:
    return token[0] if isinstance(token, list) else token


def _heads(values: Tensor, attention: Any) -> Tensor:
    """(N, H, L, e) of (N, L, d)."""
    return values.unflatten(-1, (attention.num_attention_heads, -1)).transpose(1, 2)


def _text_heads(values: Tensor, attention: Any) -> Tensor:
    """(N, H, K, T, e) of (N, K, T, d)."""
    return values.unflatten(-1, (attention.num_attention_heads, -1)).permute(0, 3, 1, 2, 4)


def _joined_heads(context: Tensor) -> Tensor:
    """(N, K, T, d) of (N, H, K, T, e)."""
    return context.permute(0, 2, 3, 1, 4).flatten(3)


def _shared_product(left: Tensor, right: Tensor) -> Tensor:
    """(N, H, K, T, b): K captions times what they share. left: (N, H, K, T, a); right: (N, H, a, b)."""
    return (left.flatten(2, 3) @ right).unflatten(2, left.shape[2:4])


def _masked(scores: Tensor) -> Tensor:
    """Scores (…, T, t) of the last T of t tokens, −∞ for the tokens that come later."""
    queries, keys = scores.shape[-2:]
    later = torch.ones(queries, keys, dtype=torch.bool, device=scores.device).triu(keys - queries + 1)
    return scores.masked_fill(later, -torch.inf)


def _attended(query: Tensor, keys: Tensor, values: Tensor, dropout: nn.Dropout) -> Tensor:
    return scaled_dot_product_attention(query, keys, values, dropout_p=dropout.p if dropout.training else 0.0)


def _finished(layer: Any, attention: Any, context: Tensor, hidden: Tensor) -> Tensor:
    """The rest of a layer after an attention: its output with the residual, and the feed-forward network."""
    return layer.feed_forward_chunk(attention.output(context, hidden))
