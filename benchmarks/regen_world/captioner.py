"""The world's captioner: GIT (Wang et al., 2022), an IMAGE model.

It has read single pictures with sentences that seldom tell an action. Its image encoder is CLIP's, as GIT's own
began as one that was trained by contrast, and stays as it is while the decoder learns.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from transformers import CLIPModel, GitConfig, GitForCausalLM, GitVisionConfig, PreTrainedTokenizerFast

from benchmarks.regen_world.fitting import begin, fit, normalised
from benchmarks.regen_world.tokens import LENGTH
from platform.datasets.simulator.captioned_clips import CaptionedClips
from platform.datasets.simulator.captions import still_caption

_WIDTH, _LAYERS, _BATCH = 96, 3, 48


def trained_captioner(
    clips: CaptionedClips, clip: CLIPModel, tokenizer: PreTrainedTokenizerFast, effort: float, rng: np.random.Generator
) -> GitForCausalLM:
    """effort: 1 is a minute and a half of one core."""
    seen = clip.config.vision_config
    vision = GitVisionConfig(**{key: getattr(seen, key) for key in GitVisionConfig().to_dict() if key in _SHARED_KEYS})
    model = GitForCausalLM(
        GitConfig(
            vision_config=vision.to_dict(), vocab_size=len(tokenizer), hidden_size=_WIDTH,
            intermediate_size=3 * _WIDTH, num_hidden_layers=_LAYERS, num_attention_heads=4,
            max_position_embeddings=LENGTH, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
            pad_token_id=tokenizer.pad_token_id, bos_token_id=tokenizer.cls_token_id,
            eos_token_id=tokenizer.sep_token_id, tie_word_embeddings=True,
        )
    ).train()  # fmt: skip
    begin(model)
    _take_over(model, clip)
    model.git.image_encoder.requires_grad_(False)
    count, frames = clips.frames.shape[:2]

    def loss() -> Tensor:
        rows, moments = rng.integers(count, size=_BATCH), rng.integers(frames, size=_BATCH)
        texts = [still_caption(clips.factors[row], rng) for row in rows]
        return caption_loss(model, tokenizer, clips.frames[rows, moments], texts)

    fit([p for p in model.parameters() if p.requires_grad], round(1000 * effort), 2e-3, loss)
    return model.eval()


def caption_loss(
    model: GitForCausalLM, tokenizer: PreTrainedTokenizerFast, pictures: np.ndarray, texts: Sequence[str]
) -> Tensor:
    """Mean over tokens of −log p(token | picture, earlier ones). pictures: (N, 3, S, S) uint8."""
    tokens = tokenizer(list(texts), padding=True, return_tensors="pt")
    labels = tokens.input_ids.masked_fill(tokens.attention_mask == 0, -100)
    return model(**tokens, pixel_values=normalised(pictures), labels=labels).loss


@torch.no_grad()
def greedy_captions(model: GitForCausalLM, tokenizer: PreTrainedTokenizerFast, pictures: np.ndarray) -> list[str]:
    """The likeliest caption of each picture, word by word. pictures: (N, 3, S, S) uint8."""
    found = []
    for batch in np.array_split(pictures, -(-len(pictures) // 64)):
        begin = torch.full((len(batch), 1), tokenizer.cls_token_id)
        ids = model.generate(
            pixel_values=normalised(batch), input_ids=begin, max_new_tokens=LENGTH - 2, do_sample=False, num_beams=1
        )
        found += tokenizer.batch_decode(ids, skip_special_tokens=True)
    return found


_SHARED_KEYS = (
    "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "image_size", "patch_size"
)  # fmt: skip


def _take_over(model: GitForCausalLM, clip: CLIPModel) -> None:
    """CLIP's vision tower as GIT's image encoder, whose parameters have the same names."""
    own = model.git.image_encoder.state_dict()
    theirs = {name.removeprefix("vision_model."): tensor for name, tensor in clip.vision_model.state_dict().items()}
    model.git.image_encoder.load_state_dict({name: theirs[name.removeprefix("vision_model.")] for name in own})
