"""GIT (Wang et al., 2022) as a captioner of clips."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import Parameter

from methods.regen.attention import (
    Attention,
    Extended,
    Pair,
    attended,
    finished,
    heads,
    joined_heads,
    masked,
    queried,
    shared_product,
)
from methods.regen.decoding import Marks
from methods.regen.networks import CaptioningNetwork


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
        keys, values = heads(own.key(hidden), own), heads(own.value(hidden), own)
        if goes_on:
            context = attended(heads(own.query(hidden), own), keys, values, own.dropout)
            hidden = finished(layer, layer.attention, context.transpose(1, 2).flatten(2), hidden)
        return hidden, keys, values

    def _text_layer(
        self, layer: Any, hidden: Tensor, seen: Pair, extended: Extended | None
    ) -> tuple[Tensor, Attention]:
        own = layer.attention.self
        query, pair = queried(hidden, own, extended)
        lengths = [seen[0].shape[2], pair[0].shape[3]]
        to_image = shared_product(query, seen[0].transpose(-1, -2)) / own.attention_head_size**0.5
        to_text = masked(query @ pair[0].transpose(-1, -2) / own.attention_head_size**0.5)
        both = torch.cat([to_image, to_text], dim=-1).float().softmax(dim=-1)
        attention = Attention(*both.split(lengths, dim=-1))
        image, text = own.dropout(both).to(query.dtype).split(lengths, dim=-1)
        context = shared_product(image, seen[1]) + text @ pair[1]
        return finished(layer, layer.attention, joined_heads(context), hidden), attention


def _first(token: int | list[int]) -> int:
    return token[0] if isinstance(token, list) else token
