"""A trained ReGen: what a clip shows is told in a caption, and the nearest class name is its class."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from methods.regen.captioners import Captioner, Decoding, shared_captioner
from methods.regen.clip_towers import ClipTowers, shared_clip
from methods.regen.config import ReGenConfig
from methods.regen.memory import enough_memory
from platform.datasets.encoded_frames import EncodedFrames
from platform.method import MethodConfig, Model, tensors_of
from platform.zeroshot.caption_attention import CaptionAttention

_CLIPS_AT_ONCE = 16
_ATTENTION = "last layer, mean over its heads; visual tokens are means over the frames: a map is of all of them"


@dataclass(frozen=True)
class ReGenModel(Model):
    """A trained ReGen of one member.

    weights: the captioner's; frames: of a clip. Samples are clips of encoded frames. Classes are compared by their
    names; semantics, (U, T), are only those that the data folder gave.
    """

    Config: ClassVar[type[MethodConfig]] = ReGenConfig

    config: ReGenConfig
    weights: dict[str, Tensor] = field(repr=False)
    frames: int
    semantics: Tensor = field(repr=False)

    @property
    def learns_seen_classes(self) -> bool:
        return True

    def captions(self, x: EncodedFrames) -> list[str]:
        """A caption of each clip."""
        kept = self._kept
        keys = [x.key(row) for row in range(len(x))]
        missing = list({key: row for row, key in enumerate(keys) if key not in kept}.values())
        captioner = self._captioner if missing else None
        for rows in torch.tensor(missing, dtype=torch.long).split(_CLIPS_AT_ONCE) if missing else ():
            with torch.no_grad(), enough_memory(self.config, self.frames):
                visual = captioner.visual(x.decoded(rows).to(self.semantics.device))
                found = captioner.generate(visual, Decoding(self.config.decoding, self._beams))
            kept |= {keys[row]: texts[0] for row, texts in zip(rows.tolist(), found.texts, strict=True)}
        return [kept[key] for key in keys]

    @torch.no_grad()
    def attention(self, x: EncodedFrames) -> list[CaptionAttention]:
        """What the tokens of each clip's caption attended to in the last layer, mean over its heads (Fig. 3)."""
        captioner, found = self._captioner, []
        for rows in torch.arange(len(x)).split(_CLIPS_AT_ONCE):
            visual = captioner.visual(x.decoded(rows).to(self.semantics.device))
            tokens = captioner.generate(visual, Decoding(self.config.decoding, self._beams)).tokens[:, 0]
            for words, image, text in zip(captioner.words(tokens), *captioner.attention(visual, tokens), strict=True):
                last = len(words) - 1
                parts = image[:last].cpu(), text[:last, :last].cpu()
                found.append(CaptionAttention(words, *parts, captioner.grid, _ATTENTION))
        return found

    def unseen_scores(self, x: EncodedFrames) -> Tensor:
        return self._scores(x, self.unseen)

    def seen_scores(self, x: EncodedFrames) -> Tensor:
        return self._scores(x, self.seen)

    def sides(self, x: EncodedFrames) -> tuple[Tensor, Tensor]:
        if self.config.combination not in ("joint", "stacking"):
            return super().sides(x)
        scores = self._scores(x, self.seen + self.unseen)
        return scores[:, : len(self.seen)], scores[:, len(self.seen) :]

    def with_classes(self, names: Sequence[str], semantics: Tensor) -> Self:
        semantics = self.as_wide(semantics, self.semantics)
        other = replace(self, unseen=tuple(names), semantics=semantics)
        other.__dict__["_kept"] = self._kept  # captions do not depend on the classes
        return other

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        tensors = {f"weights.{name}": tensor for name, tensor in self.weights.items()}
        return tensors | {"semantics": self.semantics}, {"config": self.config.model_dump(), "frames": self.frames}

    @classmethod
    def from_state(cls, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> Self:
        return cls(
            seen=tuple(values["seen"]),
            unseen=tuple(values["unseen"]),
            combination=values["combination"],
            config=ReGenConfig(**values["config"]),
            weights=tensors_of(tensors, "weights"),
            frames=values["frames"],
            semantics=tensors["semantics"],
        )

    def __getstate__(self) -> dict[str, Any]:
        """Without the networks that scoring makes."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    def _scores(self, x: EncodedFrames, names: Sequence[str]) -> Tensor:
        """(N, C) log-probabilities of Eq. 1: of the cosine of a caption and each class name."""
        captions = self._clip.text(self.captions(x))
        classes = self._clip.text(self.config.read(names))
        return torch.log_softmax(captions @ classes.T / self.config.tau, dim=1)

    @property
    def _beams(self) -> int:
        return self.config.beams if self.config.decoding == "beam" else 1

    @property
    def _captioner(self) -> Captioner:
        """The process's one captioner of this kind, which has this model's weights until another one asks for it."""
        captioner = shared_captioner(self.config.captioner, self.frames, self.semantics.device)
        captioner.load_state_dict(self.weights, assign=True)  # no copy of them
        captioner.max_tokens = self.config.max_tokens
        return captioner

    @cached_property
    def _clip(self) -> ClipTowers:
        return shared_clip(self.config.clip, self.semantics.device)

    @cached_property
    def _kept(self) -> dict[str, str]:
        """Captions by the digest of a clip."""
        return {}
