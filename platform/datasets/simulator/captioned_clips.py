"""Short clips of simulated bodies, with sentences about them. SIMULATED: no person was recorded or wrote anything.

A class is a verb with a body part, as in the simulated skeletons; unseen classes are new combinations of seen verbs and
seen parts. Colour, background, tempo and the camera's side are each clip's own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from platform.datasets.contents import ClassSplit
from platform.datasets.simulator.actions import ACTIONS
from platform.datasets.simulator.body import HIP_HEIGHT, JOINTS, joint_positions
from platform.datasets.simulator.captions import BACKGROUNDS, TEMPI, VIEWS, Factors, captions
from platform.datasets.simulator.combinations import combination_splits
from platform.datasets.simulator.performer import Performer, perform
from platform.datasets.simulator.pictures import COLOURS, Camera, Look, film, paint
from platform.errors import InputError
from platform.population.draws import generator

_BONES = ((0, 1), (1, 20), (20, 2), (20, 4), (4, 5), (5, 6), (6, 21), (20, 8), (8, 9), (9, 10), (10, 23))
_LEGS = ((0, 12), (12, 13), (13, 14), (14, 15), (0, 16), (16, 17), (17, 18), (18, 19))
_NOSE = 22  # the left thumb's place, which is not drawn, holds it
LOOK = Look(lines=(*_BONES, *_LEGS), trunk=(4, 8, 16, 12), head=3, nose=_NOSE)

YAW = {"left": 30.0, "front": 0.0, "right": -30.0}  # a camera on the body's left sees it turned to the right
_PACE = {"slow": 0.9, "quick": 1.5}
_WINDOW = (8, 56)  # the simulator's frames, 30 a second, between which a clip is filmed
_EXPOSURE = (-5, -2, 1, 4)  # the frames around a picture's moment that are blurred together


@dataclass(frozen=True)
class CaptionedClips:
    """Clips with sentences, simulated.

    frames: (N, F, 3, S, S) uint8; joints: (N, F, 25, 2) float32, where the joints are in each picture, in picture
    widths from its upper left corner; labels: (N,) indices into `class_names`; factors and captions: of each clip;
    train: (N,) True in the training partition, of other subjects than the rest; groups: (N,) the subject.
    """

    frames: np.ndarray
    joints: np.ndarray
    labels: np.ndarray
    class_names: Sequence[str]
    factors: Sequence[Factors]
    captions: Sequence[Sequence[str]]
    train: np.ndarray
    groups: np.ndarray
    splits: Mapping[str, ClassSplit]
    source: str
    simulated: bool = True

    def of_classes(self, names: Sequence[str]) -> np.ndarray:
        """(N,) whether a clip's class is one of them."""
        return np.isin(self.labels, [self.class_names.index(n) for n in names])

    def chosen(self, rows: np.ndarray) -> "CaptionedClips":
        """Some of the clips, by (N,) truth or by position; class names and splits stay."""
        rows = np.arange(len(self.labels))[rows]
        return replace(
            self,
            frames=self.frames[rows],
            joints=self.joints[rows],
            labels=self.labels[rows],
            factors=[self.factors[i] for i in rows],
            captions=[self.captions[i] for i in rows],
            train=self.train[rows],
            groups=self.groups[rows],
        )


def captioned_clips(
    seed: int = 0, subjects: int = 16, frames: int = 4, side: int = 64, captions_each: int = 5
) -> CaptionedClips:
    """A clip of every action by every subject; every fourth subject is of the test partition.

    Each clip has its own random numbers, so the same seed gives the same clips whatever the count of subjects. Raises
    InputError where a count is out of range.
    """
    for name, value, low in (
        ("subjects", subjects, 1), ("frames", frames, 1), ("side", side, 16), ("captions_each", captions_each, 1),
    ):  # fmt: skip
        if value < low:
            raise InputError(f"{name} is {value}; it must be {low} or more")
    made = [_of_subject(seed, subject, frames, side, captions_each) for subject in range(subjects)]
    subject = np.repeat(np.arange(subjects), len(ACTIONS))
    return CaptionedClips(
        frames=np.concatenate([pictures for pictures, *_ in made]),
        joints=np.concatenate([joints for _, joints, *_ in made]),
        labels=np.tile(np.arange(len(ACTIONS)), subjects),
        class_names=[a.name for a in ACTIONS],
        factors=[f for *_, factors, _ in made for f in factors],
        captions=[c for *_, written in made for c in written],
        train=subject % 4 != 3,
        groups=subject,
        splits=combination_splits(),
        source=f"simulated clips (no person was recorded): seed {seed}, {subjects} subjects",
    )


def _of_subject(
    seed: int, subject: int, frames: int, side: int, captions_each: int
) -> tuple[np.ndarray, np.ndarray, list[Factors], list[list[str]]]:
    """(actions, F, 3, S, S) pictures of all actions of one subject, with their joints, factors and sentences."""
    performer = _performer(seed, subject)
    draws = [numbers(seed, "clip", subject, action) for action in range(len(ACTIONS))]
    factors = [_drawn(action, rng) for action, rng in enumerate(draws)]
    pictures = np.empty((len(ACTIONS), frames, 3, side, side), np.uint8)
    joints = np.empty((len(ACTIONS), frames, JOINTS, 2), np.float32)
    for tempo, pace in _PACE.items():
        actions = [a for a, f in enumerate(factors) if f.tempo == tempo]
        moved, _ = perform(
            replace(performer, pace=performer.pace * pace),
            {(a, 0): draws[a] for a in actions},
        )
        bodies = _bodies(moved[:, _moments(frames)], performer)
        for action, body in zip(actions, bodies, strict=True):
            pictures[action], joints[action] = _filmed(body, factors[action], side, draws[action])
    return pictures, joints, factors, [captions(f, captions_each, rng) for f, rng in zip(factors, draws, strict=True)]


def _performer(seed: int, subject: int) -> Performer:
    """Someone whose pace, posture and size of movement differ less from others' than in the simulated skeletons: in so
    few and small pictures they would hide the tempo and the action."""
    drawn = Performer.draw(numbers(seed, "performer", subject))
    return replace(
        drawn, pace=drawn.pace**0.5, amplitude=1.15 * drawn.amplitude**0.5, posture=drawn.posture / 2 + (0, 0, 0, 4)
    )


def numbers(*names: object) -> np.random.Generator:
    """NumPy's generator for what the names say, after `draws.generator`."""
    return np.random.default_rng(int(torch.randint(1 << 62, (), generator=generator("captioned clips", *names))))


def _drawn(action: int, rng: np.random.Generator) -> Factors:
    """The action's class with a clip's own factors."""
    own = [values[rng.integers(len(values))] for values in (list(COLOURS), BACKGROUNDS, list(TEMPI), list(VIEWS))]
    return Factors(ACTIONS[action].verb.name, ACTIONS[action].part, *own)


def _moments(frames: int) -> np.ndarray:
    """(F, E) of the simulator's frames: pictures in equal steps, each with the moments of its exposure."""
    edges = np.linspace(*_WINDOW, frames + 1)
    return np.rint((edges[:-1] + edges[1:]) / 2).astype(int)[:, None] + np.array(_EXPOSURE)


def _bodies(angles: np.ndarray, performer: Performer) -> np.ndarray:
    """(..., 25, 3) metres from the floor, of angles (..., 6, 4); the nose stands at the left thumb's place."""
    joints = joint_positions(angles, performer.offsets)
    pointed = performer.offsets.copy()
    pointed[3] += (0, -0.02, 0.16)  # the head's own frame
    joints[..., _NOSE, :] = joint_positions(angles, pointed)[..., LOOK.head, :]
    joints[..., 1] += HIP_HEIGHT * performer.height
    return joints


def _filmed(bodies: np.ndarray, factors: Factors, side: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    camera = Camera(
        yaw=YAW[factors.view] + rng.normal(0, 5),
        shift=tuple(rng.uniform(-0.04, 0.04, 2)),
        zoom=float(np.exp(rng.normal(0, 0.05))),
    )
    return film(bodies, LOOK, COLOURS[factors.colour], paint(factors.background, side, rng), camera)
