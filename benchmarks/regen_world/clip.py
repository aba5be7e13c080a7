"""The world's CLIP: pictures and sentences of seen classes, and sentences of what is a clip's own.

The vision tower first learns where a body's joints are, which takes the place of CLIP's millions of pictures. Then
clips and sentences are contrasted, as Radford et al. (2021) have it; a clip's embedding is the mean of its pictures'.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize
from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPVisionConfig, PreTrainedTokenizerFast

from benchmarks.regen_world.fitting import begin, fit, normalised
from benchmarks.regen_world.tokens import LENGTH
from platform.datasets.simulator.actions import PARTS
from platform.datasets.simulator.captioned_clips import CaptionedClips
from platform.datasets.simulator.captions import BACKGROUNDS, COLOURS, TEMPI, VIEWS, Factors, sentence

WIDTH, PATCH = 96, 16
_LAYERS, _TEXT_LAYERS, _SHARED = 3, 2, 64
_PICTURES = 48  # in a batch that learns joints
_FRAMES = 2  # of each clip in a batch of clips
_ACTIONS = ("{someone} {does}", "{someone} is {doing}", "someone shows how to {do}", "how to {do}")
_WHOLE = "{figure} {tempo} {does} {where}"
# Sentences that name one factor: its values, and templates for them. They weigh _OWN against the others.
_SINGLE = {
    "part": (tuple(PARTS), ("{someone} moves {part}",)),
    "colour": (COLOURS, ("{figure}",)),
    "background": (BACKGROUNDS, ("{where}",)),
    "tempo": (tuple(TEMPI), ("{tempo}",)),
    "view": (tuple(VIEWS), ("{view}",)),
}
_OWN = 0.3


def clip_images(model: CLIPModel, frames: np.ndarray) -> Tensor:
    """(N, D) unit embeddings of pictures, averaged over a clip's. frames: (N, F, 3, S, S) uint8."""
    embedded = model.get_image_features(pixel_values=normalised(frames).flatten(0, 1)).pooler_output
    return normalize(embedded, dim=-1).view(*frames.shape[:2], -1).mean(dim=1)


def clip_texts(model: CLIPModel, tokenizer: PreTrainedTokenizerFast, texts: Sequence[str]) -> Tensor:
    """(N, D) unit embeddings."""
    tokens = tokenizer(list(texts), padding=True, truncation=True, return_tensors="pt")
    return normalize(model.get_text_features(**tokens).pooler_output, dim=-1)


def trained_clip(
    clips: CaptionedClips, tokenizer: PreTrainedTokenizerFast, effort: float, rng: np.random.Generator
) -> CLIPModel:
    """A CLIPModel of `clips`, which are of seen classes alone. effort: 1 is some six minutes of one core."""
    side = clips.frames.shape[-1]
    vision = CLIPVisionConfig(
        hidden_size=WIDTH, intermediate_size=3 * WIDTH, num_hidden_layers=_LAYERS, num_attention_heads=4,
        image_size=side, patch_size=PATCH, projection_dim=_SHARED,
    )  # fmt: skip
    text = CLIPTextConfig(
        vocab_size=len(tokenizer), hidden_size=WIDTH, intermediate_size=3 * WIDTH, num_hidden_layers=_TEXT_LAYERS,
        num_attention_heads=4, max_position_embeddings=LENGTH, projection_dim=_SHARED,
        pad_token_id=tokenizer.pad_token_id, bos_token_id=tokenizer.cls_token_id, eos_token_id=tokenizer.sep_token_id,
    )  # fmt: skip
    model = CLIPModel(
        CLIPConfig(text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=_SHARED)
    ).train()
    begin(model)
    _learn_joints(model, clips, round(1600 * effort), rng)
    _contrast(model, tokenizer, clips, round(2400 * effort), rng)
    return model.eval()


def _learn_joints(model: CLIPModel, clips: CaptionedClips, steps: int, rng: np.random.Generator) -> None:
    """Regress the joints' places, standardised, from single pictures."""
    places = torch.from_numpy(clips.joints).flatten(2)  # (N, F, 50)
    flat = places.flatten(0, 1)
    places = (places - flat.mean(0)) / (flat.std(0) + 1e-3)
    head = nn.Linear(WIDTH, places.shape[-1])
    count, frames = clips.frames.shape[:2]

    def loss() -> Tensor:
        rows, moments = rng.integers(count, size=_PICTURES), rng.integers(frames, size=_PICTURES)
        pooled = model.vision_model(pixel_values=normalised(clips.frames[rows, moments])).pooler_output
        return (head(pooled) - places[rows, moments]).square().mean()

    fit([*model.vision_model.parameters(), *head.parameters()], steps, 2e-3, loss)


def _contrast(
    model: CLIPModel, tokenizer: PreTrainedTokenizerFast, clips: CaptionedClips, steps: int, rng: np.random.Generator
) -> None:
    """A batch has one clip of every class, so that no sentence about an action is true of two of its clips."""
    by_class = [np.flatnonzero(clips.labels == label) for label in np.unique(clips.labels)]
    frames, count = clips.frames.shape[1], len(by_class)
    own = torch.arange(count)

    def loss() -> Tensor:
        rows = np.array([rng.choice(members) for members in by_class])
        moments = rng.permuted(np.tile(np.arange(frames), (count, 1)), axis=1)[:, :_FRAMES]
        factors = [clips.factors[row] for row in rows]
        written = [sentence(f, _ACTIONS[rng.integers(len(_ACTIONS))], rng) for f in factors]
        written += [sentence(f, _WHOLE, rng) for f in factors]
        written += [clips.captions[row][rng.integers(len(clips.captions[row]))] for row in rows]
        single = _of_single_factors(factors, rng)
        texts = clip_texts(model, tokenizer, [*written, *(text for texts, _ in single for text in texts)])
        scores = clip_images(model, clips.frames[rows[:, None], moments]) @ texts.T
        scores = scores * model.logit_scale.exp().clamp(max=50)
        blocks = scores.split([count] * 3 + [len(texts) for texts, _ in single], dim=1)
        pairs = sum((cross_entropy(block, own) + cross_entropy(block.T, own)) / 2 for block in blocks[:3])
        return pairs + _OWN * sum(
            cross_entropy(block, truth) for block, (_, truth) in zip(blocks[3:], single, strict=True)
        )

    fit(model.parameters(), steps, 1.5e-3, loss)


def _of_single_factors(factors: Sequence[Factors], rng: np.random.Generator) -> list[tuple[list[str], Tensor]]:
    """For each factor a sentence for every value, and (N,) which of them is a clip's."""
    found = []
    for name, (values, templates) in _SINGLE.items():
        anyone = factors[rng.integers(len(factors))]
        texts = [
            sentence(replace(anyone, **{name: value}), templates[rng.integers(len(templates))], rng) for value in values
        ]
        found.append((texts, torch.tensor([values.index(getattr(f, name)) for f in factors])))
    return found
