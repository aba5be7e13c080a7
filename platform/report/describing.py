"""What a model that describes clips said of the unseen test clips: words of each class, some captions, attention."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from platform.capabilities import attention_of, captions_of
from platform.datasets.encoded_frames import EncodedFrames
from platform.method import Model
from platform.population.draws import generator
from platform.zeroshot.caption_attention import CaptionAttention
from platform.zeroshot.metrics import unique_words
from platform.zeroshot.task import Samples

_CLIPS = 12  # shown with their captions
_ATTENDED = 2  # of these, shown with attention
_FRAMES = 4  # of a clip, at most
_SIDE = 96  # most pixels along a frame's edge: frames are embedded in the page


@dataclass(frozen=True)
class DescribedClip:
    """A clip and what was said of it.

    frames: (f, side, side, 3) uint8, some of the clip's in order, perhaps smaller than the stored ones; key: the same
    for the same stored clip; true, decided: classes, the latter among the unseen ones; attention: None where it is not
    shown.
    """

    key: str
    frames: np.ndarray
    true: str
    decided: str
    caption: str
    attention: CaptionAttention | None


@dataclass(frozen=True)
class Describing:
    """unique_words: different words in the captions of each unseen class; clips: some, the same for every model that
    is tested on the same samples."""

    unique_words: Mapping[str, int]
    clips: tuple[DescribedClip, ...]

    @property
    def keys(self) -> tuple[str, ...]:
        """Of the clips."""
        return tuple(clip.key for clip in self.clips)


def describing(model: Model, unseen: Samples) -> Describing | None:
    """unseen: test samples of the unseen classes, as `Task` numbers them. Returns None for a model without captions."""
    if (captions := captions_of(model, unseen.features)) is None or not len(captions):
        return None
    labels, names = unseen.labels.cpu() - len(model.seen), model.unseen
    counts = unique_words(captions, labels)
    rows = shown_rows(labels) if isinstance(unseen.features, EncodedFrames) else []
    chosen = unseen.features[torch.tensor(rows, dtype=torch.long)]
    attended = _spread(len(rows), _ATTENDED)
    attentions = attention_of(model, chosen[torch.tensor(attended)]) if attended else None
    by_place = dict(zip(attended, attentions or (), strict=False))
    decided = model.unseen_scores(chosen).argmax(dim=1).tolist() if rows else []
    return Describing(
        unique_words={name: counts[label] for label, name in enumerate(names) if label in counts},
        clips=tuple(
            DescribedClip(
                key=chosen.key(place),
                frames=_strip(chosen[[place]].decoded()[0]),
                true=names[int(labels[row])],
                decided=names[decided[place]],
                caption=captions[row],
                attention=by_place.get(place),
            )
            for place, row in enumerate(rows)
        ),
    )


def shown_rows(labels: Tensor, count: int = _CLIPS) -> list[int]:
    """Clips to show, drawn at random: as many of each class as fit, class by class. labels: (N,)."""
    order = torch.randperm(len(labels), generator=generator(0, "shown clips")).tolist()
    rows: dict[int, list[int]] = {}
    for row in order:
        rows.setdefault(int(labels[row]), []).append(row)
    in_turn = [own[place] for place in range(count) for own in rows.values() if place < len(own)]
    return sorted(in_turn[:count], key=lambda row: (int(labels[row]), row))


def _spread(length: int, count: int) -> list[int]:
    """At most `count` places of a list of this length, as far apart as they can be, from the first on."""
    return sorted({place * length // count for place in range(count)}) if length else []


def _strip(clip: Tensor) -> np.ndarray:
    """Some frames of a clip (F, 3, S, S) as (f, side, side, 3) uint8, reduced by averaging blocks of pixels."""
    chosen = clip[_spread(len(clip), _FRAMES)]
    side = min(clip.shape[-1], _SIDE)
    scaled = torch.nn.functional.interpolate(chosen.float(), size=(side, side), mode="area")
    return scaled.round().to(torch.uint8).permute(0, 2, 3, 1).numpy(force=True)
