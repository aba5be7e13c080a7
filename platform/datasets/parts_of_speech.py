"""The verb and the noun of a class (SynSE: Gupta et al., ICIP 2021, Section 2.6).

Those of the published class lists are project data, with their source. Others are found by spaCy where an English model
of it is installed. A class may have no noun where adding one would be unreasonable, as `jump up`; its noun's vector is
then the mean of the other classes' (see text.py).
"""

import json
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from platform.errors import InputError

if TYPE_CHECKING:
    from spacy.language import Language
    from spacy.tokens import Doc, Token

_PUBLISHED = Path(__file__).with_name("parts_of_speech.json")
_FIRST_OF = {"ntu60": ("ntu120", 60)}  # NTU RGB+D 120 begins with the classes of NTU RGB+D
_MODELS = ("en_core_web_sm", "en_core_web_md", "en_core_web_lg", "en_core_web_trf")
_PERFORM = "perform"  # SynSE's verb where a name has none, as in `perform side kicks`


class PartsOfSpeech(NamedTuple):
    """What a class name says is done, and to what or with what; noun: None where there is none."""

    verb: str
    noun: str | None


@cache
def published_parts(class_list: str | None) -> tuple[PartsOfSpeech, ...] | None:
    """The parts of speech of a published class list, in its order; None where the project has none."""
    whole, count = _FIRST_OF.get(class_list, (class_list, None))
    known = json.loads(_PUBLISHED.read_text()).get(whole)
    return None if known is None else tuple(PartsOfSpeech(*p) for p in known["classes"].values())[:count]


def parts_of_names(names: Sequence[str]) -> list[PartsOfSpeech]:
    """The parts of speech of any class names: those of the published lists as they stand there, others by spaCy.

    Raises InputError where spaCy is needed and it, or a model of it, is not installed.
    """
    known = _by_name()
    asked = [name for name in dict.fromkeys(names) if name.strip().lower() not in known]
    parsed = dict(zip(asked, _parsed(asked), strict=True)) if asked else {}
    return [parsed.get(name) or known[name.strip().lower()] for name in names]


def parts_in(doc: "Doc") -> PartsOfSpeech:
    """The verb and the noun of a parsed class name.

    The verb is the first one, as its lemma, with its particle or, where it has no object of its own, its preposition:
    `put on`, `knock on`. The noun is the object, with the words that belong to it before it, but for articles. A name
    without a verb is something that is performed: `perform side kicks`.
    """
    verb = next((token for token in doc if token.pos_ == "VERB"), None)
    if verb is None:
        return PartsOfSpeech(_PERFORM, doc.text.strip())
    objects = [token for token in verb.children if token.dep_ in ("dobj", "obj")]
    prepositions = [token for token in verb.children if token.dep_ == "prep"]
    particles = [token for token in verb.children if token.dep_ == "prt"]
    if not objects and prepositions:
        objects = [token for token in prepositions[0].children if token.dep_ == "pobj"]
        particles += prepositions[:1] if objects else []
    if not objects:  # "hand waving": what stands before a gerund is what is moved
        objects = [t for t in verb.children if t.i < verb.i and t.pos_ == "NOUN" and t.dep_ in ("compound", "nsubj")]
    words = " ".join([verb.lemma_, *(t.text for t in sorted(particles, key=lambda t: t.i))])
    return PartsOfSpeech(words.lower(), _phrase(objects[0]) if objects else None)


def _phrase(noun: "Token") -> str:
    modifiers = [t for t in noun.lefts if t.dep_ in ("compound", "amod", "nummod")]
    return " ".join(t.text for t in [*modifiers, noun]).lower()


@cache
def _by_name() -> dict[str, PartsOfSpeech]:
    """Of the published lists; where several have a name, they agree on it."""
    found: dict[str, PartsOfSpeech] = {}
    for known in json.loads(_PUBLISHED.read_text()).values():
        for name, parts in known["classes"].items():
            found.setdefault(name.lower(), PartsOfSpeech(*parts))
    return found


def _parsed(names: Sequence[str]) -> list[PartsOfSpeech]:
    language = _language(names[0])
    return [parts_in(_parse(language, re.sub(r"[_+\s]+", " ", name).strip())) for name in names]


def _parse(language: "Language", name: str) -> "Doc":
    """A name, with `to` before it where only that shows that it begins with a verb, as `drink water`."""
    doc = language(name)
    if any(token.pos_ == "VERB" for token in doc):
        return doc
    infinitive = language(f"to {name}")
    return infinitive if infinitive[1].pos_ == "VERB" else doc


@cache
def _installed_model() -> str | None:
    """An English spaCy model that is installed, the smallest of the usual ones first; None where there is none."""
    try:
        from spacy.util import get_installed_models
    except ImportError:
        return None
    english = sorted(m for m in get_installed_models() if m.startswith("en_"))
    return next((m for m in (*_MODELS, *english) if m in english), None)


@cache
def _load(model: str) -> "Language":
    import spacy

    return spacy.load(model, exclude=["ner"])


def _language(name: str) -> "Language":
    model = _installed_model()
    if model is None:
        raise InputError(
            f"class `{name}`: its verb and noun are not known, and spaCy with an English model, which would find them, "
            "is not installed: pip install -e .[pos], then python -m spacy download en_core_web_sm; or give them when "
            "the data are imported, with --parts-of-speech FILE.csv (columns verb, noun)"
        )
    return _load(model)
