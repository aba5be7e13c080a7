"""BLIP (Li et al., 2022) as a captioner of clips."""

from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn
from torch.nn.parameter import Parameter

from methods.regen.attention import (
    Attention,
    Extended,
    Pair,
    finished,
    heads,
    joined_heads,
    masked,
    queried,
    shared_product,
    text_heads,
)
from methods.regen.decoding import Marks
from methods.regen.networks import CaptioningNetwork


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
        return [(heads(own.key(visual), own), heads(own.value(visual), own)) for own in cross]

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
        self, layer: Any, hidden: Tensor, seen: Pair, extended: Extended | None
    ) -> tuple[Tensor, Attention]:
        own = layer.attention.self
        query, pair = queried(hidden, own, extended)
        scores = masked(query @ pair[0].transpose(-1, -2) / own.attention_head_size**0.5)
        to_text = scores.float().softmax(dim=-1)
        context = own.dropout(to_text).to(query.dtype) @ pair[1]
        hidden = layer.attention.output(joined_heads(context), hidden)
        cross = layer.crossattention.self
        query = text_heads(cross.query(hidden), cross)
        scores = shared_product(query, seen[0].transpose(-1, -2)) / cross.attention_head_size**0.5
        to_image = scores.float().softmax(dim=-1)
        context = shared_product(cross.dropout(to_image).to(query.dtype), seen[1])
        return finished(layer, layer.crossattention, joined_heads(context), hidden), Attention(to_image, to_text)
