"""Class semantics: the vectors that stand for the classes of a data set, seen and unseen alike."""

import hashlib
import json
import re
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from platform.datasets.contents import ClassInfo
from platform.datasets.encoders import ENCODER_FORMS, LIBRARIES, encode, encoder_id, is_encoder
from platform.datasets.folder import Dataset
from platform.datasets.parts_of_speech import PartsOfSpeech, parts_of_names, published_parts
from platform.errors import InputError

OWN_TEXTS = ("name", "verb", "noun")  # of every class; the others are the data folder's description sets
Combine = Literal["mean", "concatenate"]


class ClassText(BaseModel):
    """The options of class semantics.

    encoder: a text encoder (see encoders.py), `attributes` for the classes' attribute vectors, or the name of an
    embedding that stands in the data folder; these words come before a stored embedding of the same name. The latter
    two are vectors already: `text` and `combine` do not touch them. Several joined by `+`, as in
    `attributes+word2vec:FILE`, are concatenated, each at its length 1 where `normalise` (CLASTER's combination of
    embeddings, Table 2, which does not say how; see encoder_parts).
    text: `name` for the class names, `verb` or `noun` (see parts_of_speech.py), or the name of a description set;
    several joined by `+`, as in `name+llm`. A class without a noun gets the mean of the other classes' noun vectors.
    combine: what becomes of a class's several texts. SynSE's semantics are `verb+noun`, concatenated.
    normalise: to Euclidean length 1, each text's vector and then the class's.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    encoder: str = "minilm"
    text: str = "name"
    combine: Combine = "mean"
    normalise: bool = True


def class_semantics(dataset: Dataset, text: ClassText) -> np.ndarray:
    """(C, T) float32, in the order of the data set's classes.

    Encodings are kept in the folder under embeddings/texts/, where it can be written, and read from there the next
    time. Raises InputError where the encoder, a description set or an attribute vector is missing.
    """
    parts = encoder_parts(text.encoder, dataset.embedding_names)
    if len(parts) > 1:
        each = [class_semantics(dataset, text.model_copy(update={"encoder": part})) for part in parts]
        return _scaled(np.concatenate(each, axis=1), text)
    if text.encoder == "attributes":
        return _scaled(_attributes(dataset), text)
    if not is_encoder(text.encoder):
        if text.encoder in dataset.embedding_names:
            return _scaled(_stored(dataset, text.encoder), text)
        have = ", ".join(dataset.embedding_names) or "none"
        raise InputError(
            f"unknown encoder `{text.encoder}`; write {ENCODER_FORMS}, or attributes, or the name of a class embedding "
            f"in {dataset.folder} (it has {have})"
        )
    speech = _parts(dataset) if _asks_for(text.text, "verb", "noun") else [None] * len(dataset.classes)
    texts = [_texts(dataset, info, text.text, part) for info, part in zip(dataset.classes, speech, strict=True)]
    if text.combine == "concatenate":
        _check_counts(dataset, texts, text.text)
    unique = list(dict.fromkeys(t for several in texts for t in several if t is not None))
    rows = dict(zip(unique, _encoded(dataset, text.encoder, unique), strict=True))
    mean = _mean_noun([rows[p.noun] for p in speech if p and p.noun], text) if _asks_for(text.text, "noun") else None
    return _combined([_vectors(several, rows, mean) for several in texts], text)


def vectors_of_a_class(dataset: Dataset, text: ClassText) -> int:
    """The number of vectors of equal width that are concatenated in a class's semantics; 0 where widths differ.

    For an embedding from the folder, `text` and `combine` say what it holds, since the numbers do not.
    """
    encoders = encoder_parts(text.encoder, dataset.embedding_names)
    if len(encoders) == 1:
        described = dataset.classes[0].descriptions
        counts = [len(described[name]) if name in described else 1 for name in text.text.split("+")]
        return sum(counts) if text.combine == "concatenate" else 1
    widths = {dataset.embedding(e).shape[1] if e in dataset.embedding_names else None for e in encoders}
    return len(encoders) if len(widths) == 1 and None not in widths else 0


def encode_names(
    encoder: str, names: Sequence[str], text: ClassText, known: Callable[[], Dataset] | None = None
) -> np.ndarray:
    """(N, T) float32 for new classes of which only the names are known, as `class_semantics` treats names.

    The parts of speech of a name are found as parts_of_speech.py says. known: opens the data folder of the known
    classes, for the mean noun; it is called only where a name has no noun. Raises InputError where a name alone cannot
    give a vector like those of the known classes.
    """
    joined = encoder_parts(encoder)
    if len(joined) > 1:
        each = [encode_names(part, names, text.model_copy(update={"encoder": part}), known) for part in joined]
        return _scaled(np.concatenate(each, axis=1), text)
    if not is_encoder(encoder):
        raise InputError(f"`{encoder}` cannot encode the name of a new class; a text encoder can: {ENCODER_FORMS}")
    asked = text.text.split("+")
    if not set(asked) <= set(OWN_TEXTS):
        if text.combine == "concatenate":
            raise InputError(
                f"a name alone cannot stand for `{text.text}` concatenated; average the texts (combine: mean)"
            )
        asked = [part for part in asked if part in OWN_TEXTS] or ["name"]
    parts = parts_of_names(names) if {"verb", "noun"} & set(asked) else [None] * len(names)
    texts = [[_own_text(kind, name, part) for kind in asked] for name, part in zip(names, parts, strict=True)]
    unique = list(dict.fromkeys(t for several in texts for t in several if t is not None))
    rows = dict(zip(unique, encode(encoder, unique), strict=True))
    without = [name for name, several in zip(names, texts, strict=True) if None in several]
    mean = None
    if without:
        if known is None:
            raise InputError(f"class `{without[0]}` has no noun, and the mean noun of the known classes is not at hand")
        try:
            mean = _known_mean_noun(known(), text)
        except InputError as error:
            raise InputError(
                f"class `{without[0]}` has no noun, and the mean noun of the known classes: {error}"
            ) from None
    return _combined([_vectors(several, rows, mean) for several in texts], text)


def encoder_parts(encoder: str, stored: Collection[str] = ()) -> list[str]:
    """The encoders that are joined by `+`.

    A `+` joins only where what follows begins as an encoder does (`attributes`, `minilm`, `word2vec:` and so on) or is
    one of the `stored` embeddings, so that a path or a stored name may hold one.
    """
    if encoder in stored:
        return [encoder]
    words = "|".join(re.escape(word) for word in ("attributes", "minilm", *sorted(stored, key=len, reverse=True)))
    return re.split(rf"\+(?=(?:{words})(?:\+|$)|(?:{'|'.join(LIBRARIES)}):)", encoder)


def spoken(name: str) -> str:
    """A class name as one would say it: `002.Laysan_Albatross` is `Laysan Albatross`, `BenchPress` `Bench Press`."""
    words = re.sub(r"[_+\s]+", " ", re.sub(r"^\d+\.", "", name)).strip()
    if " " not in words:
        words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", words)
    return words or name


def _asks_for(sets: str, *kinds: str) -> bool:
    return bool(set(sets.split("+")) & set(kinds))


def _parts(dataset: Dataset) -> list[PartsOfSpeech]:
    """Of every class: what stands in the folder, else what is published for its class list, else what spaCy finds."""
    published = published_parts(dataset.card.class_list) or (None,) * len(dataset.classes)
    found = [
        PartsOfSpeech(info.verb, info.noun) if info.verb else known
        for info, known in zip(dataset.classes, published, strict=True)
    ]
    missing = [spoken(info.name) for info, parts in zip(dataset.classes, found, strict=True) if parts is None]
    parsed = iter(parts_of_names(missing) if missing else [])
    return [parts or next(parsed) for parts in found]


def _texts(dataset: Dataset, info: ClassInfo, sets: str, parts: PartsOfSpeech | None) -> list[str | None]:
    """The texts of a class in the order of `sets`; None for a noun that it has not."""
    texts = []
    for name in sets.split("+"):
        if name in OWN_TEXTS:
            texts.append(_own_text(name, info.name, parts))
        elif info.descriptions.get(name):
            texts.extend(info.descriptions[name])
        else:
            have = ", ".join([*OWN_TEXTS, *info.descriptions])
            raise InputError(f"{dataset.folder}: class `{info.name}` has no description set `{name}`; it has {have}")
    return texts


def _own_text(kind: str, name: str, parts: PartsOfSpeech | None) -> str | None:
    return spoken(name) if kind == "name" else getattr(parts, kind)


def _vectors(texts: Sequence[str | None], rows: dict[str, np.ndarray], mean_noun: np.ndarray | None) -> np.ndarray:
    """(texts, T)."""
    return np.stack([mean_noun if t is None else rows[t] for t in texts])


def _mean_noun(nouns: Sequence[np.ndarray], text: ClassText) -> np.ndarray:
    """(T,) mean over the classes that have a noun, each vector scaled as it is used (SynSE, Section 2.6)."""
    if not nouns:
        raise InputError(f"--text {text.text}: no class has a noun, so there is no mean noun; use --text verb")
    return _scaled(np.stack(nouns), text).mean(axis=0)


def _known_mean_noun(dataset: Dataset, text: ClassText) -> np.ndarray:
    nouns = [parts.noun for parts in _parts(dataset) if parts.noun]
    unique = list(dict.fromkeys(nouns))
    rows = dict(zip(unique, _encoded(dataset, text.encoder, unique), strict=True))
    return _mean_noun([rows[noun] for noun in nouns], text)


def _check_counts(dataset: Dataset, texts: list[list[str | None]], sets: str) -> None:
    for info, several in zip(dataset.classes, texts, strict=True):
        if len(several) != len(texts[0]):
            raise InputError(
                f"{dataset.folder}: class `{info.name}` has {len(several)} texts in `{sets}`, "
                f"`{dataset.classes[0].name}` {len(texts[0])}; to concatenate, every class needs as many"
            )


def _encoded(dataset: Dataset, encoder: str, texts: list[str]) -> np.ndarray:
    """(texts, T) as the encoder returns them, so that one file serves every way to combine and normalise."""
    slug = re.sub(r"[^a-z0-9]+", "-", encoder.lower().rstrip("/").rpartition("/")[2]).strip("-")
    digest = hashlib.sha256(json.dumps([encoder_id(encoder), texts]).encode()).hexdigest()[:12]
    kept = f"texts/{slug}-{digest}"
    with suppress(InputError):  # not there yet, or damaged: encoded again
        vectors = dataset.embedding(kept)
        if len(vectors) == len(texts):
            return vectors
    vectors = encode(encoder, texts)
    with suppress(OSError):  # a folder that cannot be written is still a folder that can be read
        dataset.add_embedding(kept, vectors)
    return vectors


def _attributes(dataset: Dataset) -> np.ndarray:
    vectors = [info.attributes for info in dataset.classes]
    if None in vectors:
        raise InputError(f"{dataset.folder}: its classes have no attributes; choose another encoder: {ENCODER_FORMS}")
    return np.array(vectors, dtype=np.float32)


def _stored(dataset: Dataset, name: str) -> np.ndarray:
    vectors = np.array(dataset.embedding(name))  # the caller's own, not the read-only file
    if len(vectors) != len(dataset.classes):
        raise InputError(
            f"{dataset.folder}: class embedding `{name}` has {len(vectors)} rows for {len(dataset.classes)} classes"
        )
    return vectors


def _combined(vectors: Sequence[np.ndarray], text: ClassText) -> np.ndarray:
    """vectors: for each class (texts, T)."""
    scaled = [_scaled(v, text) for v in vectors]
    joined = [v.reshape(-1) if text.combine == "concatenate" else v.mean(axis=0) for v in scaled]
    return _scaled(np.stack(joined), text)


def _scaled(vectors: np.ndarray, text: ClassText) -> np.ndarray:
    """vectors: (rows, T); a row of zeros stays one."""
    if not text.normalise:
        return vectors
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(lengths > 0, lengths, 1)
