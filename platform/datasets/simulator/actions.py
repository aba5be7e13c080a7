"""The simulated actions: every verb, every body part, and which go together.

A verb says how a movement runs, in effort; a part says what that effort turns, in degrees. Nothing is written for a
pair of them, so what an unseen pair looks like follows from seen pairs alone, as its name does.
"""

from dataclasses import dataclass

import numpy as np

from platform.datasets.contents import ClassInfo
from platform.datasets.simulator.body import CHAINS

_LIMBS = ("left arm", "right arm", "both arms", "left leg", "right leg")
_ARMS = _LIMBS[:3]

# Part: the chains that it moves, and the words after the verb.
PARTS = {
    "left arm": (("left arm",), "the left arm"),
    "right arm": (("right arm",), "the right arm"),
    "both arms": (("left arm", "right arm"), "both arms"),
    "left leg": (("left leg",), "the left leg"),
    "right leg": (("right leg",), "the right leg"),
    "head": (("head",), "the head"),
    "trunk": (("trunk",), "the trunk"),
}

# Degrees that an effort of one turns each chain: lift, spread, twist, fold.
_RANGES = {"arm": (150, 100, 80, 125), "leg": (85, 50, 45, 105), "head": (55, 45, 75, 60), "trunk": (35, 35, 60, 75)}
DEGREES = np.array([_RANGES[chain.split()[-1]] for chain in CHAINS], dtype=float)  # (6, 4)


@dataclass(frozen=True)
class Verb:
    """Effort on each of AXES at the height of the movement: hold + sine·sin(2π·cycles·u) + cosine·cos(2π·cycles·u)."""

    name: str
    phrase: str  # the class's name, {} for the part
    sentences: tuple[str, str]  # the same in the third person, and how it is done
    parts: tuple[str, ...]
    seconds: float
    cycles: float = 0
    hold: tuple[float, float, float, float] = (0, 0, 0, 0)
    sine: tuple[float, float, float, float] = (0, 0, 0, 0)
    cosine: tuple[float, float, float, float] = (0, 0, 0, 0)


VERBS = (
    Verb(
        "raise",
        "raise {}",
        ("A person raises {}.", "Slowly lift {} forwards and up, hold still, and lower again."),
        (*_LIMBS, "head"),
        seconds=1.8,
        hold=(0.85, 0, 0, 0),
    ),
    Verb(
        "swing",
        "swing {}",
        ("A person swings {}.", "Move {} forwards and backwards like a pendulum, several times."),
        (*_LIMBS, "trunk"),
        seconds=2.0,
        cycles=2.5,
        sine=(0.40, 0, 0, 0),
    ),
    Verb(
        "circle",
        "circle {}",
        ("A person circles {}.", "Draw round circles in the air with {}, again and again."),
        (*_LIMBS, "head", "trunk"),
        seconds=2.2,
        cycles=2.5,
        hold=(0.30, 0.40, 0, 0),
        sine=(0.30, 0, 0, 0),
        cosine=(0, 0.45, 0, 0),
    ),
    Verb(
        "shake",
        "shake {}",
        ("A person shakes {}.", "Make {} tremble with small and very fast movements to and fro."),
        (*_LIMBS, "head", "trunk"),
        seconds=1.6,
        cycles=6,
        hold=(0.12, 0, 0, 0.15),
        sine=(0, 0.10, 0.20, 0),
        cosine=(0, 0, 0, 0.12),
    ),
    Verb(
        "bend",
        "bend {}",
        ("A person bends {}.", "Fold {} at its joint, stay there, and straighten again."),
        (*_LIMBS, "head", "trunk"),
        seconds=1.7,
        hold=(0, 0, 0, 0.85),
    ),
    Verb(
        "stretch",
        "stretch {} sideways",
        ("A person stretches {} sideways.", "Extend {} straight out to the side, hold still, and come back."),
        _LIMBS,
        seconds=1.8,
        hold=(0, 0.85, 0, 0),
    ),
    Verb(
        "push",
        "push with {}",
        ("A person pushes with {}.", "Draw {} in and thrust forwards against something heavy, twice."),
        _LIMBS,
        seconds=1.8,
        cycles=2,
        hold=(0.55, 0, 0, 0.40),
        cosine=(0, 0, 0, 0.40),
    ),
    Verb(
        "twist",
        "twist {}",
        ("A person twists {}.", "Turn {} about its own length, to one side and the other."),
        (*_ARMS, "head", "trunk"),
        seconds=1.9,
        cycles=1.5,
        hold=(0, 0, 0, 0.35),
        sine=(0, 0, 0.75, 0),
    ),
)


@dataclass(frozen=True)
class Action:
    """A verb with a part: one class."""

    verb: Verb
    part: str

    @property
    def name(self) -> str:
        return self.verb.phrase.format(PARTS[self.part][1])

    @property
    def chains(self) -> np.ndarray:
        """(6,) True where the part moves that chain."""
        return np.isin(CHAINS, PARTS[self.part][0])

    def class_info(self) -> ClassInfo:
        words = PARTS[self.part][1]
        rest = f"Only {words} {'move' if words.startswith('both') else 'moves'}; the rest of the body stands still."
        sentences = [sentence.format(words) for sentence in self.verb.sentences]
        return ClassInfo(
            name=self.name, descriptions={"sentence": [*sentences, rest]}, verb=self.verb.name, noun=self.part
        )


ACTIONS = tuple(Action(verb, part) for verb in VERBS for part in verb.parts)
