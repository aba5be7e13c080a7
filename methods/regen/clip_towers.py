"""CLIP's towers (Radford et al., 2021), frozen: CLIP_T of captions and class names, CLIP_I of clips."""

import copy
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from methods.regen.pretrained import configuration, image_processor, loading, network, one_line, tokenizer
from platform.datasets.encoders import open_clip_model
from platform.errors import InputError

_OPEN_CLIP = "open_clip:"
_BATCH = 256  # texts or frames a pass


def load_clip(name: str, device: torch.device | str) -> "ClipTowers":
    """CLIP's two towers with their tokenizer and image processor, frozen. The paper took ViT-B/16 (3.2.1).

    name: the Hugging Face id or the folder of a CLIPModel, read from safetensors files alone; or
    open_clip:ARCHITECTURE/WEIGHTS_OR_FILE, whose files may hold tensors alone.

    Raises InputError where there is no such model, it is of another type, or a part of it is missing.
    """
    found = _open_clip(name.removeprefix(_OPEN_CLIP)) if name.startswith(_OPEN_CLIP) else _transformers(name)
    return found.to(device)


class ClipTowers(nn.Module):
    """Embeddings of texts and clips in CLIP's space, without gradients. d: its width.

    text_tower and image_tower are modules from token ids (N, T) and pictures to (N, d); token_ids makes the first of
    texts, pixels the second of frames.
    """

    def __init__(
        self,
        text_tower: nn.Module,
        image_tower: nn.Module,
        token_ids: Callable[[list[str]], Tensor],
        pixels: Callable[[Tensor], Tensor],
    ) -> None:
        super().__init__()
        self.text_tower, self.image_tower = text_tower, image_tower
        self._token_ids, self._pixels = token_ids, pixels
        self.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> "ClipTowers":
        """The towers stay in evaluation mode, also where a module that holds them is trained."""
        return super().train(False)

    @property
    def device(self) -> torch.device:
        return next(self.text_tower.parameters()).device

    @torch.no_grad()
    def text(self, texts: Sequence[str]) -> Tensor:
        """(N, d) float32 of length 1: t of a caption, t_c of a class name (Eq. 1).

        In batches of 256. A text longer than the tower's context, 77 tokens with its two ends, is cut off at its end;
        captions do not come near it. There must be one text at least.
        """
        batches = [texts[start : start + _BATCH] for start in range(0, len(texts), _BATCH)]
        return torch.cat([normalize(self.text_tower(self.token_ids(own)).float(), dim=-1) for own in batches])

    @torch.no_grad()
    def frames(self, frames: Tensor) -> Tensor:
        """(N, d) float32: f of Eq. 4, the mean over a clip's frames of their embeddings, each of length 1.

        Eq. 4 does not say whether CLIP_I's embeddings have length 1. They have here, since CLIP compares directions
        alone: how long an embedding is was never trained, and would weigh the frames by it. The mean itself is not
        made longer again: cosines, as in Eq. 4, do not ask for it, and its length tells how much the frames agree.

        frames: (N, F, 3, S, S) uint8, resized and normalised as the tower's image processor says.
        """
        clips, count = frames.shape[:2]
        parts = frames.flatten(0, 1).split(_BATCH)
        found = [normalize(self.image_tower(self._pixels(own)).float(), dim=-1) for own in parts]
        return torch.cat(found).unflatten(0, (clips, count)).mean(dim=1)

    def token_ids(self, texts: Sequence[str]) -> Tensor:
        """(N, T) int64 on the towers' device, cut off at the tower's context, padded."""
        return self._token_ids(list(texts)).to(self.device)

    def trainable_text_tower(self) -> nn.Module:
        """A copy of the text tower, from token ids to (N, d), to be trained further (the discriminator of 3.2.3)."""
        return copy.deepcopy(self.text_tower).requires_grad_(True)


# the same frozen towers for all members of a population and all their models
shared_clip = lru_cache(maxsize=2)(load_clip)


class _TextTower(nn.Module):
    """transformers' text tower and its projection. What follows the end token is not seen: its attention is causal."""

    def __init__(self, clip: Any) -> None:
        super().__init__()
        self.tower, self.projection = clip.text_model, clip.text_projection

    def forward(self, ids: Tensor) -> Tensor:
        return self.projection(self.tower(input_ids=ids).pooler_output)


class _ImageTower(nn.Module):
    def __init__(self, clip: Any) -> None:
        super().__init__()
        self.tower, self.projection = clip.vision_model, clip.visual_projection

    def forward(self, pixels: Tensor) -> Tensor:
        return self.projection(self.tower(pixel_values=pixels).pooler_output)


def _transformers(name: str) -> ClipTowers:
    from transformers import CLIPModel

    what = "clip"
    with loading(name, what):
        config = configuration(name)
        if config.model_type != "clip":
            raise InputError(f"{what} `{name}`: its model_type is {config.model_type}; give a model of type clip")
        clip = network(CLIPModel, name, what)
        words = tokenizer(name, what, config.text_config.vocab_size)
        pixels = image_processor(name, what, config.vision_config.image_size)
    longest = config.text_config.max_position_embeddings

    def token_ids(texts: list[str]) -> Tensor:
        return words(texts, padding=True, truncation=True, max_length=longest, return_tensors="pt")["input_ids"]

    return ClipTowers(_TextTower(clip), _ImageTower(clip), token_ids, pixels)


def _open_clip(model: str) -> ClipTowers:
    what, advice = f"clip `{_OPEN_CLIP}{model}`", "where there is no network, give open_clip:ARCHITECTURE/FILE"
    with one_line(what, advice, offline=False):
        clip, words = open_clip_model(model, "clip")
        images, clip.visual = clip.visual, nn.Identity()  # the text tower's parts lie in the model itself
        return ClipTowers(_OpenClipText(clip), images, words, _pixels(images.preprocess_cfg))


class _OpenClipText(nn.Module):
    def __init__(self, clip: Any) -> None:
        super().__init__()
        self.clip = clip

    def forward(self, ids: Tensor) -> Tensor:
        return self.clip.encode_text(ids)


def _pixels(config: Mapping[str, Any]) -> Callable[[Tensor], Tensor]:
    """open_clip's own transform of a square picture, as tensors. What it gives takes uint8 (B, 3, S, S)."""
    from torchvision.transforms.v2 import InterpolationMode
    from torchvision.transforms.v2.functional import normalize as standardised
    from torchvision.transforms.v2.functional import resize

    side = config["size"] if isinstance(config["size"], int) else config["size"][0]
    mode = InterpolationMode(config["interpolation"])

    def pixels(frames: Tensor) -> Tensor:
        resized = resize(frames, [side, side], mode, antialias=True).float() / 255
        return standardised(resized, list(config["mean"]), list(config["std"]))

    return pixels
