"""Class semantics: the vectors that stand for the classes of a data set, seen and unseen alike."""

import hashlib
import json
import re
from collections.abc import Sequence
from contextlib import suppress
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from platform.datasets.contents import ClassInfo
from platform.datasets.encoders import ENCODER_FORMS, encode, encoder_id, is_encoder
from platform.datasets.folder import Dataset
from platform.errors import InputError


class ClassText(BaseModel):
    """Which semantics the classes get.

    encoder: a text encoder (see encoders.py), `attributes` for the classes' attribute vectors, or the name of an
    embedding that stands in the data folder; these words come before a stored embedding of the same name. The latter
    two are vectors already: `text` and `combine` do not touch them.
    text: `name` for the class names, or the name of a description set; several joined by `+`, as in `name+llm`.
    combine: what becomes of a class's several texts.
    normalise: to Euclidean length 1, each text's vector and then the class's.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    encoder: str = "minilm"
    text: str = "name"
    combine: Literal["mean", "concatenate"] = "mean"
    normalise: bool = True


def class_semantics(dataset: Dataset, text: ClassText) -> np.ndarray:
    """(C, T) float32, in the order of the data set's classes.

    Encodings are kept in the folder under embeddings/texts/, where it can be written, and read from there the next
    time. Raises InputError where the encoder, a description set or an attribute vector is missing.
    """
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
    texts = [_texts(dataset, info, text.text) for info in dataset.classes]
    if text.combine == "concatenate":
        _check_counts(dataset, texts, text.text)
    unique = list(dict.fromkeys(t for several in texts for t in several))
    rows = dict(zip(unique, _encoded(dataset, text.encoder, unique), strict=True))
    return _combined([np.stack([rows[t] for t in several]) for several in texts], text)


def encode_names(encoder: str, names: Sequence[str], text: ClassText) -> np.ndarray:
    """(N, T) float32 for new classes of which only the names are known, as `class_semantics` treats names.

    Raises InputError where a name alone cannot give a vector like those of the known classes.
    """
    if not is_encoder(encoder):
        raise InputError(f"`{encoder}` cannot encode the name of a new class; a text encoder can: {ENCODER_FORMS}")
    if text.combine == "concatenate" and text.text != "name":
        raise InputError(f"a name alone cannot stand for `{text.text}` concatenated; average the texts (combine: mean)")
    return _combined(encode(encoder, [spoken(name) for name in names])[:, None], text)


def spoken(name: str) -> str:
    """A class name as one would say it: `002.Laysan_Albatross` is `Laysan Albatross`, `polar+bear` `polar bear`."""
    words = re.sub(r"[_+\s]+", " ", re.sub(r"^\d+\.", "", name)).strip()
    return words or name


def _texts(dataset: Dataset, info: ClassInfo, sets: str) -> list[str]:
    texts = []
    for name in sets.split("+"):
        if name == "name":
            texts.append(spoken(info.name))
        elif info.descriptions.get(name):
            texts.extend(info.descriptions[name])
        else:
            have = ", ".join(["name", *info.descriptions])
            raise InputError(f"{dataset.folder}: class `{info.name}` has no description set `{name}`; it has {have}")
    return texts


def _check_counts(dataset: Dataset, texts: list[list[str]], sets: str) -> None:
    for info, several in zip(dataset.classes, texts, strict=True):
        if len(several) != len(texts[0]):
            raise InputError(
                f"{dataset.folder}: class `{info.name}` has {len(several)} texts in `{sets}`, "
                f"`{dataset.classes[0].name}` {len(texts[0])}; to concatenate, every class needs as many"
            )


def _encoded(dataset: Dataset, encoder: str, texts: list[str]) -> np.ndarray:
    """(texts, T) as the encoder gives them, so that one file serves every way to combine and normalise."""
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
