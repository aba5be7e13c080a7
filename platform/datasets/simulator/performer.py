"""Who performs an action, and how it comes out this time."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from platform.datasets.simulator.actions import ACTIONS, DEGREES, VERBS
from platform.datasets.simulator.body import AXES, CHAINS, bone_offsets

RATE = 30  # frames a second
FRAMES = (30, 100)  # the shortest and the longest clip

# How much people and repetitions differ: set so that logistic regression on the pose descriptor gets nine in ten of the
# test subjects' clips right, all 48 classes being seen. With less the default data would tell no two methods apart.
_POSTURE = 5.0  # degrees, each subject's own stance
_MANNER = 0.07  # effort, each subject's own way with each verb
_SLIP = 0.06  # effort, each repetition
_FIDGET = 0.07  # effort, what the rest of the body does meanwhile
_SWAY = 1.5  # degrees, drift of every angle
_SCATTER = 0.08  # in the logarithm of size, duration and tempo, each repetition


@dataclass(frozen=True)
class Performer:
    """A subject: proportions, stance, pace, size of movement and manner, all drawn from the subject's own numbers."""

    height: float  # metres
    offsets: np.ndarray  # (25, 3) metres
    pace: float
    amplitude: float
    posture: np.ndarray  # (6, 4) degrees
    manner: np.ndarray  # (verbs, 3, 4) effort, added to hold, sine and cosine

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "Performer":
        height = float(np.clip(rng.normal(1.70, 0.09), 1.50, 1.95))
        arm, leg, trunk = rng.normal(1, 0.04, 3)
        return cls(
            height=height,
            offsets=bone_offsets(height, arm, leg, trunk),
            pace=float(np.exp(rng.normal(0, 0.15))),
            amplitude=float(np.exp(rng.normal(0, 0.15))),
            # nobody's elbows and knees hang quite straight
            posture=np.array([0, 0, 0, 8]) + rng.normal(0, _POSTURE, (len(CHAINS), len(AXES))),
            manner=rng.normal(0, _MANNER, (len(VERBS), 3, len(AXES))) * [[1], [0.5], [0.5]],
        )


class _Rendition(NamedTuple):
    """One performance of one action."""

    effort: np.ndarray  # (3, 6, 4) hold, sine and cosine of each chain and axis
    start: float  # seconds of rest before
    seconds: float  # of movement
    rest: float  # seconds of rest after
    cycles: float
    drift: np.ndarray  # (3, 6, 4) frequency (Hz), phase (radians) and size (degrees)


def perform(
    performer: Performer, generators: Mapping[tuple[int, int], np.random.Generator]
) -> tuple[np.ndarray, np.ndarray]:
    """Perform one action per key (index into ACTIONS, repetition), each from its own generator.

    Returns angles (n, 100, 6, 4) in radians, of which the first `lengths` (n,) frames count.
    """
    renditions = [_rendition(performer, action, rng) for (action, _), rng in generators.items()]
    effort, start, seconds, rest, cycles, drift = (np.stack(column) for column in zip(*renditions, strict=True))
    lengths = np.clip(np.rint((start + seconds + rest) * RATE).astype(int), *FRAMES)
    time = np.arange(FRAMES[1]) / RATE  # (100,)
    progress = np.clip((time - start[:, None]) / seconds[:, None], 0, 1)  # (n, 100)
    turn = 2 * np.pi * cycles[:, None] * progress
    trajectory = np.stack([np.ones_like(turn), np.sin(turn), np.cos(turn)], axis=1) * _envelope(progress)[:, None]
    degrees = np.einsum("nkca,nkt->ntca", effort, trajectory) * DEGREES
    frequency, phase, size = np.moveaxis(drift, 1, 0)  # (n, 6, 4) each
    sway = size[:, None] * np.sin(2 * np.pi * frequency[:, None] * time[:, None, None] + phase[:, None])
    return np.radians(degrees + sway + performer.posture), lengths


def _rendition(performer: Performer, action: int, rng: np.random.Generator) -> _Rendition:
    verb, moved = ACTIONS[action].verb, ACTIONS[action].chains[:, None]  # (6, 1)
    ideal = np.array([verb.hold, verb.sine, verb.cosine]) + performer.manner[VERBS.index(verb)]  # (3, 4)
    angles = (len(CHAINS), len(AXES))
    size = performer.amplitude * np.exp(rng.normal(0, _SCATTER))
    effort = (ideal[:, None] * size + rng.normal(0, _SLIP, (3, *angles))) * moved
    effort[0] += rng.normal(0, _FIDGET, angles) * ~moved
    return _Rendition(
        effort=effort,
        start=rng.uniform(0.1, 0.5),
        seconds=verb.seconds / performer.pace * np.exp(rng.normal(0, _SCATTER)),
        rest=rng.uniform(0.1, 0.5),
        cycles=verb.cycles * np.exp(rng.normal(0, _SCATTER)),
        drift=np.stack(
            [rng.uniform(0.1, 0.6, angles), rng.uniform(0, 2 * np.pi, angles), rng.normal(0, _SWAY, angles)]
        ),
    )


def _envelope(progress: np.ndarray) -> np.ndarray:
    """Rise to one, stay, and fall back to nothing, each along a minimum-jerk trajectory (Flash and Hogan, 1985)."""
    ramp = np.clip(np.minimum(progress, 1 - progress) / 0.25, 0, 1)
    return ramp**3 * (10 - 15 * ramp + 6 * ramp**2)
