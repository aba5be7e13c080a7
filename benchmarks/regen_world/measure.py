"""What the world's models reach: how much a method could gain, and from where it starts."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor
from transformers import BertForMaskedLM, CLIPModel, GitForCausalLM, PreTrainedTokenizerFast

from benchmarks.regen_world.captioner import caption_loss, greedy_captions
from benchmarks.regen_world.clip import clip_images, clip_texts
from benchmarks.regen_world.language import masked_accuracy
from platform.datasets.simulator.captioned_clips import CaptionedClips
from platform.datasets.simulator.captions import is_grammatical, named, sentence, still_caption

HEADING = ("model", "measured", "reached", "chance", "n")
Row = tuple[str, str, str, str, int]
_GALLERY = 100  # captions that one is found among
_WHOLE = "{figure} {tempo} {does} {where}"


@torch.no_grad()
def measured(
    clips: CaptionedClips,
    unseen: Sequence[str],
    corpus: Sequence[str],
    new_sentences: Sequence[str],
    tokenizer: PreTrainedTokenizerFast,
    clip: CLIPModel,
    language: BertForMaskedLM,
    captioner: GitForCausalLM,
    rng: np.random.Generator,
) -> list[Row]:
    """Rows of HEADING. clips: that no model was trained on; new_sentences: not in the corpus."""
    new = np.flatnonzero(clips.of_classes(unseen))
    old = np.flatnonzero(~clips.of_classes(unseen) & ~clips.train)
    seen = [name for name in clips.class_names if name not in unseen]
    images = {"unseen": _embedded(clip, clips, new), "seen": _embedded(clip, clips, old)}
    names = {"unseen": clip_texts(clip, tokenizer, unseen), "seen": clip_texts(clip, tokenizer, seen)}
    truth = {"unseen": _positions(clips, new, unseen), "seen": _positions(clips, old, seen)}

    def right(embedded: Tensor, kind: str) -> str:
        return _percent(((embedded @ names[kind].T).argmax(1) == truth[kind]).float().mean())

    of_unseen, of_seen = _percent(1 / len(unseen)), _percent(1 / len(seen))
    known = torch.cat([clip_texts(clip, tokenizer, corpus[i : i + 500]) for i in range(0, len(corpus), 500)])
    nearest = known[(images["unseen"] @ known.T).argmax(1)]
    told = [sentence(clips.factors[i], _WHOLE, rng) for i in new]
    found = {
        "zero-shot, unseen classes, %": (right(images["unseen"], "unseen"), of_unseen, len(new)),
        "seen classes, new subjects, %": (right(images["seen"], "seen"), of_seen, len(old)),
        "unseen classes by the nearest corpus sentence, %": (right(nearest, "unseen"), of_unseen, len(new)),
        "unseen classes by a true sentence, %": (
            right(clip_texts(clip, tokenizer, told), "unseen"), of_unseen, len(new)
        ),
        "recall@1 of a clip's sentence, seen classes, new subjects, %": _recall(
            clip, tokenizer, clips, old, images["seen"], rng
        ),
    }  # fmt: skip
    rows: list[Row] = [("CLIP", *row) for row in _flat(found)]
    accuracy, common, words = masked_accuracy(language, tokenizer, new_sentences[:200])
    rows.append(("BERT", "masked words, one at a time, %", _percent(accuracy), _percent(common), words))
    return rows + _of_captioner(clips, new, old, tokenizer, clip, captioner, right, of_unseen, rng)


def _of_captioner(
    clips: CaptionedClips,
    new: np.ndarray,
    old: np.ndarray,
    tokenizer: PreTrainedTokenizerFast,
    clip: CLIPModel,
    captioner: GitForCausalLM,
    right: Callable[[Tensor, str], str],
    chance: str,
    rng: np.random.Generator,
) -> list[Row]:
    """Of captions of a clip's middle picture."""
    middle = clips.frames.shape[1] // 2
    texts = [still_caption(clips.factors[i], rng) for i in old]
    loss = caption_loss(captioner, tokenizer, clips.frames[old, middle], texts)
    told = greedy_captions(captioner, tokenizer, clips.frames[new, middle])
    said = [named(text) for text in told]

    def share(factor: str) -> str:
        """Of captions that name a factor, and of those that name it rightly."""
        tells = [factor in s for s in said]
        true = [s.get(factor) == getattr(clips.factors[i], factor) for s, i in zip(said, new, strict=True)]
        return f"{_percent(np.mean(tells))} / {_percent(np.mean(true))}"

    count = len(new)
    found = {
        "caption loss, single pictures, nats a token": (f"{loss:.2f}", f"{np.log(len(tokenizer)):.2f}", len(old)),
        "unseen classes by its caption, %": (right(clip_texts(clip, tokenizer, told), "unseen"), chance, count),
        "captions that follow the grammar, %": (_percent(np.mean([is_grammatical(t) for t in told])), "–", count),
    }
    for factor in ("verb", "part", "colour", "background"):
        found[f"captions that name the {factor} / rightly, %"] = (share(factor), "–", count)
    return [("GIT", *row) for row in _flat(found)]


def _flat(found: Mapping[str, tuple[str, str, int]]) -> list[tuple[str, str, str, int]]:
    return [(what, *values) for what, values in found.items()]


def _recall(
    clip: CLIPModel, tokenizer: PreTrainedTokenizerFast, clips: CaptionedClips, rows: np.ndarray, images: Tensor,
    rng: np.random.Generator,
) -> tuple[str, str, int]:  # fmt: skip
    """Clips whose own caption is the nearest in its gallery; chance; clips."""
    count = len(rows) // _GALLERY * _GALLERY or len(rows)
    order, found = rng.permutation(len(rows))[:count], []
    for part in np.array_split(order, max(count // _GALLERY, 1)):
        texts = clip_texts(clip, tokenizer, [sentence(clips.factors[rows[i]], _WHOLE, rng) for i in part])
        found.append((images[part] @ texts.T).argmax(1) == torch.arange(len(part)))
    return _percent(torch.cat(found).float().mean()), _percent(1 / len(part)), count


def _embedded(clip: CLIPModel, clips: CaptionedClips, rows: np.ndarray) -> Tensor:
    return torch.cat([clip_images(clip, clips.frames[part]) for part in np.array_split(rows, -(-len(rows) // 64))])


def _positions(clips: CaptionedClips, rows: np.ndarray, names: Sequence[str]) -> Tensor:
    return torch.tensor([list(names).index(clips.class_names[clips.labels[i]]) for i in rows])


def _percent(share: float) -> str:
    return f"{100 * float(share):.1f}"
