"""The captioner p_θ(w | v): GIT or BLIP on clips (Section 3.1)."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.parameter import Parameter

from methods.regen.attention import Pair
from methods.regen.blip_network import BlipNetwork
from methods.regen.decoding import Captions, Decoding, searched
from methods.regen.git_network import GitNetwork
from methods.regen.networks import CaptioningNetwork
from methods.regen.pretrained import ImageProcessor, configuration, image_processor, loading, network, tokenizer
from platform.errors import InputError

__all__ = ["Captioner", "Captions", "Decoding", "load_captioner", "shared_captioner"]

_LONGEST = 40  # tokens, as GIT was trained; the paper does not say


def load_captioner(name: str, frames: int, device: torch.device | str) -> "Captioner":
    """GIT or BLIP with its tokenizer and image processor, float32, in evaluation mode.

    name: a Hugging Face id or a folder; frames: F, of each clip. Weights are read from safetensors files alone, and
    without the network where HF_HUB_OFFLINE is set or name is a folder.

    Raises InputError where there is no such model, it is of another type, or a part of it is missing.
    """
    from transformers import BlipForConditionalGeneration, GitForCausalLM

    what = "captioner"
    kinds: dict[str, tuple[Any, type[CaptioningNetwork]]] = {
        "git": (GitForCausalLM, GitNetwork),
        "blip": (BlipForConditionalGeneration, BlipNetwork),
    }
    with loading(name, what):
        found = configuration(name).model_type
        if found not in kinds:
            raise InputError(f"{what} `{name}`: its model_type is {found}; give a model of type {' or '.join(kinds)}")
        kind, taken_apart = kinds[found]
        parts = taken_apart(network(kind, name, what))
        words = tokenizer(name, what, parts.vocabulary)
        captioner = Captioner(parts, words, image_processor(name, what, parts.side), frames)
    return captioner.to(device)


@lru_cache(maxsize=2)
def shared_captioner(name: str, frames: int, device: torch.device | str) -> "Captioner":
    """The process's frozen captioner, whose files are read once: who asks for it gives it the weights that it needs.

    As `load_captioner` besides.
    """
    return load_captioner(name, frames, device).requires_grad_(False)


class Captioner(nn.Module):
    """p_θ(w | v) of a clip v and a caption w. N clips, F frames, L visual tokens of width d, T tokens.

    tokenizer: transformers' own. max_tokens: the longest caption that `generate` and `tokens` give, with its first
    token and the end token; set it as you like, up to the model's positions.

    The first token and the padding have probability 0 inside a caption, wherever probabilities are taken: a caption
    cannot hold them, and the probabilities of samples are so those that they were drawn by.

    A caption's tokens are (N, T), or (N·K, T) with the K captions of a clip after one another: the visual tokens
    (N, L, d) are then shared by them, and need not be repeated.
    """

    def __init__(self, parts: CaptioningNetwork, tokenizer: Any, pixels: ImageProcessor, frames: int) -> None:
        super().__init__()
        if frames < 1:
            raise InputError(f"frames={frames}: a clip has one or more")
        self.network = parts
        self.temporal = nn.Parameter(parts.initial_temporal(frames))
        self.tokenizer = tokenizer
        self.max_tokens = min(_LONGEST, parts.positions)
        self._pixels = pixels

    def visual(self, frames: Tensor) -> Tensor:
        """(N, L, d) visual tokens of clips, by the vision tower once a frame (Section 3.1).

        frames: (N, F, 3, S, S) uint8, resized and normalised as the model's image processor says.

        The temporal embedding, zero at first, is added to each frame's features before GIT's projection, where GIT's
        own models of videos add it (those that were trained on F frames lend theirs), and the mean over time is taken
        after it. Section 3.1 can be read to add it after the projection too. The mean would then leave no more of it
        than its own mean, as it does with BLIP, whose cross-attention follows at once.

        Raises InputError for another number of frames.
        """
        clips, count = frames.shape[:2]
        if count != len(self.temporal):
            raise InputError(f"clips of {count} frames: the captioner was loaded for {len(self.temporal)}")
        features = self.network.vision(self._pixels(frames.flatten(0, 1)))
        return self.network.joined(features.unflatten(0, (clips, count)) + self.temporal)

    def log_probabilities(self, visual: Tensor, tokens: Tensor) -> Tensor:
        """(N, T − 1) float32, log p of each next token given those before it, 0 where it is padding.

        One pass by teacher forcing, differentiable. visual: (N, L, d); tokens: (N, T) int64, or (N·K, T).
        """
        groups = self._grouped(visual, tokens)
        hidden, _ = self.network.text(groups[..., :-1], self.network.memory(visual), None)
        logits = self.network.logits(hidden).flatten(0, 2)
        padding = self.network.marks.padding
        losses = cross_entropy(logits, tokens[:, 1:].flatten(), ignore_index=padding, reduction="none")
        return -losses.view(len(tokens), -1)

    @torch.no_grad()
    def generate(self, visual: Tensor, decoding: Decoding) -> Captions:
        """K captions of each clip, in evaluation mode, without gradients. visual: (N, L, d).

        The visual tokens' keys and values are computed once, and shared by all beams and samples; the text's are kept
        from token to token. `Captions.tokens.flatten(0, 1)` is what `log_probabilities` takes. Under self-critical
        training (Eq. 3) w_b is kind=beam or kind=sample, and w_g is kind=greedy. Raises InputError for a `max_tokens`
        below 2.
        """
        with _evaluation(self):
            steps = _Steps(self.network, self.network.memory(visual))
            found = searched(steps, len(visual), decoding, self.network.marks, self._longest(), visual.device)
        return replace(found, texts=[[self._text(row) for row in rows] for rows in found.tokens.tolist()])

    @torch.no_grad()
    def attention(self, visual: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Text-to-image (N, T, L) and text-to-text (N, T, T) attention of the last layer, mean over heads (Fig. 3).

        Row t is what token t looks at when the next one is chosen; rows of padding are 0. In GIT a row of both together
        sums to 1, since one softmax is over image and text; in BLIP, whose cross-attention has a softmax of its own, a
        row of each does. visual: (N, L, d); tokens: (N, T), or (N·K, T).
        """
        with _evaluation(self):
            _, found = self.network.text(self._grouped(visual, tokens), self.network.memory(visual), None)
        counted = (tokens != self.network.marks.padding)[..., None]
        image, text = (part.mean(dim=1).flatten(0, 1) for part in (found.image, found.text))
        return image * counted, text * counted

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of patches: a picture's visual tokens but for the class token, which comes first."""
        side = self.network.side // self.network.pretrained.config.vision_config.patch_size
        return side, side

    def words(self, tokens: Tensor) -> list[tuple[str, ...]]:
        """Each caption's tokens as text, from the first to the end token, without padding. tokens: (N, T)."""
        padding = self.network.marks.padding
        rows = [[own for own in row if own != padding] for row in tokens.tolist()]
        return [tuple(self.tokenizer.convert_ids_to_tokens(row)) for row in rows]

    def tokens(self, texts: Sequence[str]) -> Tensor:
        """(N, T) int64 of captions as text, on the captioner's device, cut off at `max_tokens` with the end token."""
        marks = self.network.marks
        inside = self._longest() - 2
        asked = {"add_special_tokens": False, "truncation": True, "max_length": inside}
        words = [self.tokenizer.encode(text, **asked) for text in texts]
        longest = max((len(own) for own in words), default=0) + 2
        rows = [[marks.begin, *own, marks.end, *[marks.padding] * (longest - 2 - len(own))] for own in words]
        return torch.tensor(rows, dtype=torch.int64, device=self.temporal.device).view(len(rows), longest)

    def groups(self) -> dict[str, list[Parameter]]:
        """All parameters, each once: `vision`, `projection` (none in BLIP), `decoder` and `temporal`."""
        parts = {
            "vision": list(self.network.vision_parameters()),
            "projection": list(self.network.projection()),
            "temporal": [self.temporal],
        }
        known = {id(own) for part in parts.values() for own in part}
        return parts | {"decoder": [own for own in self.parameters() if id(own) not in known]}

    def checkpointing(self, enabled: bool) -> None:
        """Keep the inputs of layers alone, and compute the rest again for the gradients: less memory, more time."""
        self.network.checkpointing = enabled

    def _longest(self) -> int:
        if self.max_tokens < 2:
            raise InputError(f"max_tokens={self.max_tokens}: a caption has its first token and another, 2 or more")
        return min(self.max_tokens, self.network.positions)

    def _grouped(self, visual: Tensor, tokens: Tensor) -> Tensor:
        """(N, K, T) of (N·K, T)."""
        if not len(visual) or len(tokens) % len(visual):
            raise ValueError(f"{len(tokens)} captions are no multiple of {len(visual)} clips")
        return tokens.unflatten(0, (len(visual), -1))

    def _text(self, row: list[int]) -> str:
        marks = self.network.marks
        words = row[1 : row.index(marks.end)] if marks.end in row else row[1:]
        return self.tokenizer.decode([own for own in words if own != marks.padding], skip_special_tokens=True).strip()


class _Steps:
    """The network as a search asks it (`decoding.Step`), with the text's keys and values from one token to the next."""

    def __init__(self, parts: CaptioningNetwork, memory: list[Pair]) -> None:
        self.network, self.memory, self.cache = parts, memory, parts.empty_cache()

    def __call__(self, last: Tensor, rows: Tensor | None) -> Tensor:
        if rows is not None:
            self.cache.reorder(rows)
        hidden, _ = self.network.text(last[..., None], self.memory, self.cache)
        return self.network.log_probabilities(hidden[..., 0, :])


@contextmanager
def _evaluation(module: nn.Module) -> Iterator[None]:
    """Without dropout inside; afterwards each part is in its own mode again, as a frozen tower may be in another."""
    training = [part for part in module.modules() if part.training]
    module.eval()
    try:
        yield
    finally:
        for part in training:
            part.training = True
