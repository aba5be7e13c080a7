"""CIDEr-D of captions against references (Vedantam et al., CVPR 2015), as the COCO captions' evaluation computes it."""

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence

from platform.errors import InputError

_LONGEST, _SIGMA, _SCALE = (
    4,
    6.0,
    10.0,
)  # words of an n-gram, of the penalty on length, and what CIDEr-D is multiplied by
_Grams = Counter[tuple[str, ...]]
_WORD = re.compile(r"\w+(?:'\w+)?")


def cider(captions: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """CIDEr-D of N captions, the mean over samples, 0 to 10; papers print it times 100, as in `40.5` for 0.405.

    references: of each sample, one or several. Words are compared in lower case and without punctuation; an n-gram's
    weight falls with the share of samples in whose references it stands, so a value belongs to its set of samples, and
    a single sample has 0. Raises InputError where a sample has no reference.
    """
    if len(captions) != len(references) or not all(references):
        raise InputError(
            f"{len(captions)} captions: each needs a reference, and there are {len(references)} lists of them"
        )
    of_references = [[_grams(text) for text in own] for own in references]
    documents = Counter(gram for own in of_references for gram in set().union(*own))
    weights = {gram: math.log(len(captions)) - math.log(count) for gram, count in documents.items()}
    unknown = math.log(len(captions))
    scores = []
    for caption, own in zip(captions, of_references, strict=True):
        grams = _grams(caption)
        vectors = [_weighted(one, weights, unknown) for one in (grams, *own)]
        lengths = [_length(one) for one in (grams, *own)]
        similar = [
            _similarity(vectors[0], vector) * math.exp(-((lengths[0] - length) ** 2) / (2 * _SIGMA**2))
            for vector, length in zip(vectors[1:], lengths[1:], strict=True)
        ]
        scores.append(_SCALE * sum(similar) / len(similar))
    return sum(scores) / len(scores)


_Vectors = list[dict[tuple[str, ...], float]]  # by length of n-gram


def _grams(text: str) -> _Grams:
    """The n-grams of a text and how often each stands there."""
    words = _WORD.findall(text.lower())
    return Counter(tuple(words[i : i + n]) for n in range(1, _LONGEST + 1) for i in range(len(words) - n + 1))


def _length(grams: _Grams) -> int:
    return sum(count for gram, count in grams.items() if len(gram) == 2)  # pairs of words, as the COCO code counts


def _weighted(grams: _Grams, weights: dict[tuple[str, ...], float], unknown: float) -> _Vectors:
    vectors: _Vectors = [{} for _ in range(_LONGEST)]
    for gram, count in grams.items():
        vectors[len(gram) - 1][gram] = count * weights.get(gram, unknown)
    return vectors


def _similarity(caption: _Vectors, reference: _Vectors) -> float:
    """The mean over lengths of the cosine, in which a caption's count beyond the reference's does not help."""
    total = 0.0
    for own, other in zip(caption, reference, strict=True):
        norms = _norm(own.values()) * _norm(other.values())
        if norms:
            total += sum(min(value, other[gram]) * other[gram] for gram, value in own.items() if gram in other) / norms
    return total / _LONGEST


def _norm(values: Iterable[float]) -> float:
    return math.sqrt(sum(value**2 for value in values))
