"""Sentences about simulated clips, from a small grammar over what a clip shows.

Every sentence is one of TEMPLATES with its slots filled by words that `Factors` choose, so that it can be read back:
`is_grammatical` says whether a text follows a template, `named` which factors it names.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import chain

import numpy as np

from platform.datasets.simulator.actions import PARTS, VERBS, Verb

COLOURS = ("red", "yellow", "green", "blue", "purple")
BACKGROUNDS = ("grey wall", "brick wall", "wooden fence", "green hedge", "blue curtain", "night sky")
TEMPI = {"slow": ("slowly", "gently"), "quick": ("quickly", "rapidly")}
SOMEONE = ("someone", "a figure", "a person", "a dancer")
VIEWS = {
    "left": ("seen from the left", "filmed from the left"),
    "front": ("seen from the front", "filmed from the front"),
    "right": ("seen from the right", "filmed from the right"),
}
FIGURES = ("figure", "person", "dancer")

# Verb: the words that name it, its own first. Each stands in Verb.phrase in place of the verb.
SYNONYMS = {
    "raise": ("raise", "lift"),
    "swing": ("swing", "sway"),
    "circle": ("circle", "whirl"),
    "shake": ("shake", "jiggle"),
    "bend": ("bend", "fold"),
    "stretch": ("stretch", "extend"),
    "push": ("push", "press"),
    "twist": ("twist", "turn"),
}
_PART_WORDS = {
    part: (words, words.replace("the ", "its ")) if words.startswith("the ") else (words, f"{words} together")
    for part, (_, words) in PARTS.items()
}
_LIMB = {"arm": "an arm", "leg": "a leg"}  # as one says who does not look which

TEMPLATES = (
    "{figure} {does}",
    "{figure} {does} {where}",
    "{figure} {tempo} {does}",
    "{figure} {tempo} {does} {where}",
    "{figure} {does} {tempo}",
    "{figure} {does}, {view}",
    "{figure} is {doing} {where}",
    "{figure} is {tempo} {doing}",
    "{figure} starts to {do} {where}",
    "{figure} starts to {tempo} {do}",
    "{where}, {figure} {does}",
    "{where}, {figure} {tempo} {does}",
    "{view}, {figure} {tempo} {does}",
    "{view}, {figure} is {doing} {where}",
    "a video of {figure} {doing} {where}",
    "{someone} {does}",
    "{someone} is {tempo} {doing}",
    "someone shows how to {do}",
    "how to {do}",
)
# Of what a model of single pictures has read, the sentences that do not say what is done.
STILL_TEMPLATES = (
    "{figure} {where}",
    "{figure} stands {where}",
    "a picture of {figure} {where}",
    "{figure} moves {part}",
    "{figure} moves {part} {where}",
    "{figure} moves {limb} {where}",
    "{figure} is moving {part} {where}",
    "{someone} moves {part}",
    "{where}, {figure} moves {part}",
    "{view}, {figure} moves {limb}",
)
_GUESSED, _RIGHT = 0.95, 0.5  # how often a still picture's sentence tells an action, and how often the right one


@dataclass(frozen=True)
class Factors:
    """What a clip shows: verb and part are of its class, the rest is the clip's own."""

    verb: str  # of SYNONYMS
    part: str  # of PARTS
    colour: str
    background: str
    tempo: str
    view: str


def sentence(factors: Factors, template: str, rng: np.random.Generator) -> str:
    """The template filled with words for the factors, each of several drawn."""
    words = _words(factors)
    return re.sub(r"{(\w+)}", lambda slot: _pick(words[slot[1]], rng), template)


def captions(factors: Factors, count: int, rng: np.random.Generator, templates: Sequence[str] = TEMPLATES) -> list[str]:
    """`count` sentences about a clip, of as many templates where there are so many."""
    order = rng.permutation(max(count, len(templates)))[:count] % len(templates)
    return [sentence(factors, templates[i], rng) for i in order]


def still_caption(factors: Factors, rng: np.random.Generator) -> str:
    """A sentence as an image model's training data have it: mostly with an action, half the time a wrong one, which
    was guessed from the body part."""
    if rng.random() >= _GUESSED:
        return sentence(factors, STILL_TEMPLATES[rng.integers(len(STILL_TEMPLATES))], rng)
    others = [v.name for v in VERBS if factors.part in v.parts and v.name != factors.verb]
    verb = factors.verb if rng.random() < _RIGHT else _pick(others, rng)
    return sentence(replace(factors, verb=verb), TEMPLATES[rng.integers(len(TEMPLATES))], rng)


def corpus(count: int, rng: np.random.Generator) -> list[str]:
    """`count` sentences of which every template names every factor's every value somewhere, where there are enough.

    Factors are drawn apart from each other: most sentences tell of a combination that no clip shows, and some of a verb
    with a part that are no class at all.
    """
    verbs, parts = [v.name for v in VERBS], list(PARTS)
    lists = (verbs, parts, COLOURS, BACKGROUNDS, list(TEMPI), list(VIEWS))
    columns = [np.concatenate([rng.permutation(len(v)) for _ in range(-(-count // len(v)))])[:count] for v in lists]
    drawn = [Factors(*(v[i] for v, i in zip(lists, row, strict=True))) for row in zip(*columns, strict=True)]
    templates = [*TEMPLATES, *STILL_TEMPLATES]
    return [sentence(factors, templates[rng.integers(len(templates))], rng) for factors in drawn]


def is_grammatical(text: str) -> bool:
    """Whether a text is a sentence of the grammar, whatever it says. Case and blanks around commas do not matter."""
    return any(pattern.fullmatch(_normal(text)) for pattern in _patterns())


def named(text: str) -> dict[str, str]:
    """Factor to the value that a text names; a factor that it names not at all, or in two ways, is left out."""
    words, found = f" {_normal(text).replace(',', ' ,')} ", {}
    for factor, values in _namings().items():
        said = {value for value, forms in values.items() if any(f" {form} " in words for form in forms)}
        if len(said) == 1:
            found[factor] = said.pop()
    return found


def _conjugated(verb: Verb, form: str) -> tuple[str, ...]:
    """The verb's phrase, {} for the part, with each of its words in a form: do, does or doing."""
    return tuple(verb.phrase.replace(verb.name, _inflected(word, form), 1) for word in SYNONYMS[verb.name])


def _inflected(word: str, form: str) -> str:
    if form == "does":
        return word + ("es" if word.endswith(("ch", "sh", "ss")) else "s")
    return word.removesuffix("e") + "ing" if form == "doing" else word


def _words(factors: Factors) -> dict[str, tuple[str, ...]]:
    """Slot of a template to what can stand there."""
    verb = next(v for v in VERBS if v.name == factors.verb)
    parts = _PART_WORDS[factors.part]
    slots = {
        form: tuple(phrase.format(part) for phrase in _conjugated(verb, form) for part in parts)
        for form in ("do", "does", "doing")
    }
    return slots | {
        "figure": tuple(f"{article} {factors.colour} {figure}" for article in ("a", "the") for figure in FIGURES),
        "someone": SOMEONE,
        "part": parts,
        "limb": (_LIMB.get(factors.part.split()[-1], parts[0]),),
        "where": tuple(f"{before} a {factors.background}" for before in ("in front of", "against")),
        "tempo": TEMPI[factors.tempo],
        "view": VIEWS[factors.view],
    }


def _pick(words: Sequence[str], rng: np.random.Generator) -> str:
    return words[rng.integers(len(words))]


def _normal(text: str) -> str:
    return re.sub(r"\s*,\s*", ", ", " ".join(text.lower().split()))


@cache
def _patterns() -> tuple[re.Pattern[str], ...]:
    """Each template as an expression in which any words may stand that any factors put there."""
    everything = [_words(Factors(v.name, p, *_first())) for v in VERBS for p in PARTS]
    everything += [
        _words(Factors(VERBS[0].name, "head", colour, background, tempo, view))
        for colour in COLOURS for background in BACKGROUNDS for tempo in TEMPI for view in VIEWS
    ]  # fmt: skip
    slots = {
        slot: "|".join(sorted(map(re.escape, set(chain.from_iterable(words[slot] for words in everything)))))
        for slot in everything[0]
    }
    return tuple(
        re.compile(re.sub(r"{(\w+)}", lambda slot: f"(?:{slots[slot[1]]})", template))
        for template in (*TEMPLATES, *STILL_TEMPLATES)
    )


def _first() -> tuple[str, str, str, str]:
    return COLOURS[0], BACKGROUNDS[0], next(iter(TEMPI)), next(iter(VIEWS))


@cache
def _namings() -> Mapping[str, Mapping[str, Sequence[str]]]:
    """Factor to value to the words that name it."""
    return {
        "verb": {
            verb: [_inflected(word, form) for word in words for form in ("do", "does", "doing")]
            for verb, words in SYNONYMS.items()
        },
        "part": {part: [part] for part in PARTS},
        "colour": {c: [f"{c} {figure}" for figure in FIGURES] for c in COLOURS},
        "background": {b: [b] for b in BACKGROUNDS},
        "tempo": TEMPI,
        "view": VIEWS,
    }
