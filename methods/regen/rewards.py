"""What a caption is worth: CLS-R (Eq. 1, 2), CLIP-R (Eq. 4), GRAMMAR-R (Eq. 5 or 6), and their sum (3.2.4)."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, normalize

from methods.regen.clip_towers import ClipTowers


def class_reward(captions: Tensor, classes: Tensor, labels: Tensor, tau: float) -> Tensor:
    """(N,): CLS-R, log p(y | t) of the true class (Eq. 1 and 2), at most 0.

    Eq. 2 prints a cross-entropy with its minus sign and calls it a reward. Made larger, as a reward is, that would lead
    captions away from their class; what is meant, and is taken here, is the log-probability.

    captions: (N, d) and classes: (C, d), of any length, since Eq. 1 compares by the cosine; labels: (N,) in 0 … C − 1.
    """
    cosines = normalize(captions.float(), dim=-1) @ normalize(classes.float(), dim=-1).T
    return (cosines / tau).log_softmax(dim=-1).gather(1, labels[:, None])[:, 0]


def clip_reward(clips: Tensor, captions: Tensor) -> Tensor:
    """(N,): CLIP-R, max(cos(f, t), 0) (Eq. 4). clips: (N, d), f of each caption's clip; captions: (N, d), t."""
    return cosine_similarity(clips.float(), captions.float(), dim=-1).clamp_min(0.0)


class Grammar(Protocol):
    """What GRAMMAR-R is taken from: a MaskedLanguageModel or a GrammarDiscriminator."""

    def scores(self, texts: Sequence[str]) -> Tensor:
        """(N,) float32, larger for better grammar."""


@dataclass
class Hits:
    """Captions that were asked for, counted: already known, computed, and the same as another of their call."""

    hits: int = 0
    misses: int = 0
    repeated: int = 0


class Rewards:
    """Rewards of captions as text. classes: (C, d), the embeddings t_c of the base classes' names.

    lambda_cls, lambda_clip and lambda_grammar are the weights of 3.2.4, with Section 4's values; tau is the temperature
    of Eq. 1, which the paper does not say: 0.01 is what CLIP was trained with. grammar is None where its weight is 0.

    What a caption's text alone decides, its embedding and its grammar's score, is computed once: equal captions of a
    call share it, and the last `capacity` captions are remembered from call to call, the longest unused forgotten
    first. `counted` says how often that helped.
    """

    def __init__(
        self,
        clip: ClipTowers,
        grammar: Grammar | None,
        classes: Tensor,
        lambda_cls: float = 1.0,
        lambda_clip: float = 5.0,
        lambda_grammar: float = 0.2,
        tau: float = 0.01,
        capacity: int = 1 << 16,
    ) -> None:
        if lambda_grammar and grammar is None:
            raise ValueError(f"lambda_grammar={lambda_grammar} without a grammar")
        self.clip, self.classes, self.tau = clip, classes, tau
        self.grammar = grammar if lambda_grammar else None
        self.weights = {"class": lambda_cls, "clip": lambda_clip, "grammar": lambda_grammar}
        self.counted = Hits()
        self._known = _Remembered(capacity)

    def __call__(self, texts: Sequence[str], labels: Tensor, clips: Tensor) -> dict[str, Tensor]:
        """Rewards (N,) float32: `class`, `clip`, `grammar` without their weights, and `total`, the weighted sum.

        `grammar` is not there where its weight is 0, and a reward whose weight is 0 is no part of the total. `finite`,
        (N,) bool, is false where the total is not finite, as after a diverged embedding; the numbers stay as they are,
        and the caller leaves them out.

        texts: N captions; labels: (N,) their clips' classes; clips: (N, d) their clips' embeddings, by
        `ClipTowers.frames`.
        """
        embeddings, grammar = self.of_texts(texts)
        found = {
            "class": class_reward(embeddings, self.classes, labels, self.tau),
            "clip": clip_reward(clips, embeddings),
        }
        if grammar is not None:
            found["grammar"] = grammar
        weighted = [self.weights[name] * own for name, own in found.items() if self.weights[name]]
        total = torch.stack(weighted).sum(dim=0) if weighted else torch.zeros_like(found["class"])
        return found | {"total": total, "finite": total.isfinite()}

    def of_texts(self, texts: Sequence[str]) -> tuple[Tensor, Tensor | None]:
        """What texts alone decide: their embeddings (N, d) of length 1, and GRAMMAR-R (N,) where it has a weight."""
        different = list(dict.fromkeys(texts))
        rows = self._known.rows(different)
        unknown = [place for place, text in enumerate(different) if text not in rows]
        self.counted.repeated += len(texts) - len(different)
        self.counted.misses += len(unknown)
        self.counted.hits += len(different) - len(unknown)
        width = self.classes.shape[1] + (self.grammar is not None)
        values = torch.empty(len(different), width, device=self.classes.device)
        known = [place for place, text in enumerate(different) if text in rows]
        if known:
            values[known] = self._known.values(list(rows.values()))
        if unknown:
            values[unknown] = fresh = self._computed([different[place] for place in unknown])
            self._known.remember([different[place] for place in unknown], fresh)
        place_of = {text: place for place, text in enumerate(different)}
        values = values[[place_of[text] for text in texts]]
        return (values, None) if self.grammar is None else (values[:, :-1], values[:, -1])

    @torch.no_grad()
    def _computed(self, texts: list[str]) -> Tensor:
        """(N, d) embeddings, with GRAMMAR-R, where it has a weight, as another column."""
        embeddings = self.clip.text(texts)
        if self.grammar is None:
            return embeddings
        return torch.cat([embeddings, self.grammar.scores(texts)[:, None].to(embeddings)], dim=1)


class _Remembered:
    """Rows of a table by text, the longest unused overwritten first."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.table: Tensor | None = None  # (capacity, …), made with the first rows
        self.places: OrderedDict[str, int] = OrderedDict()

    def rows(self, texts: Sequence[str]) -> dict[str, int]:
        """The rows of those texts that are known, which count as used."""
        found = {text: self.places[text] for text in texts if text in self.places}
        for text in found:
            self.places.move_to_end(text)
        return found

    def values(self, rows: Sequence[int]) -> Tensor:
        return self.table[list(rows)]

    def remember(self, texts: Sequence[str], values: Tensor) -> None:
        """texts: new ones; where they are more than fit, the last."""
        if not self.capacity:
            return
        texts, values = texts[-self.capacity :], values[-self.capacity :]
        if self.table is None:
            self.table = values.new_empty(self.capacity, values.shape[1])
        rows = []
        for text in texts:
            full = len(self.places) == self.capacity
            row = self.places.popitem(last=False)[1] if full else len(self.places)
            self.places[text] = row
            rows.append(row)
        self.table[rows] = values
