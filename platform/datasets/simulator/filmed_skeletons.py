"""Recorded motion in the look of the simulated clips: real skeletons of Kinect v1, drawn before a painted wall.

The motion is real, the pictures are SIMULATED: colour, background and the camera's side are drawn, and so is what is
said of them. Nobody described the actions, so that captions name none.
"""

import numpy as np

from platform.datasets.contents import Contents
from platform.datasets.simulator.captioned_clips import YAW, CaptionedClips, numbers
from platform.datasets.simulator.captions import BACKGROUNDS, VIEWS, Factors, sentence
from platform.datasets.simulator.pictures import COLOURS, Camera, Look, film, paint
from platform.datasets.splits import published_splits
from platform.errors import InputError

LOOK = Look(
    lines=(
        *((3, 2), (2, 1), (1, 0), (1, 4), (4, 5), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10), (10, 11)),
        *((3, 12), (12, 13), (13, 14), (14, 15), (3, 16), (16, 17), (17, 18), (18, 19)),
    ),
    trunk=(4, 8, 16, 12),
    head=0,
)
_HIPS, _FEET = 3, [15, 19]
_TEMPLATES = ("{figure} {where}", "{figure} stands {where}", "a picture of {figure} {where}")
_EXPOSURE = (-5, -2, 1, 4)  # recorded frames around a picture's moment


def filmed_skeletons(contents: Contents, seed: int = 0, frames: int = 4, side: int = 64) -> CaptionedClips:
    """Every recorded clip as pictures, with its own class names, partition and published splits.

    contents: of the reader of UTD-MHAD, or any with skeletons of Kinect v1. Factors have an empty verb, part and tempo;
    joints are those of Kinect v1, (N, F, 20, 2). Raises InputError where there are no such skeletons.
    """
    if contents.skeletons is None or contents.skeletons.layout != "kinect_v1":
        raise InputError(f"data set `{contents.name}`: no skeletons of kinect_v1 to draw")
    names = [c.name for c in contents.classes]
    made = [_filmed(clip[:, 0], frames, side, numbers(seed, contents.name, i))
            for i, clip in enumerate(contents.skeletons.clips)]  # fmt: skip
    return CaptionedClips(
        frames=np.stack([pictures for pictures, *_ in made]),
        joints=np.stack([joints for _, joints, *_ in made]),
        labels=contents.labels,
        class_names=names,
        factors=[factors for *_, factors, _ in made],
        captions=[written for *_, written in made],
        train=contents.train,
        groups=np.full(len(made), -1) if contents.groups is None else contents.groups,
        splits={**published_splits(contents.class_list, names), **contents.splits},
        source=f"recorded motion of {contents.name}, simulated pictures and sentences: seed {seed}",
    )


def _filmed(
    clip: np.ndarray, frames: int, side: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, Factors, list[str]]:
    """clip: (T, 20, 3) metres, as the sensor sees it: x to its left, y up, z depth."""
    colour, background, view = (values[rng.integers(len(values))] for values in (list(COLOURS), BACKGROUNDS, [*VIEWS]))
    moments = np.rint((np.arange(frames) + 0.5) / frames * len(clip)).astype(int)[:, None] + np.array(_EXPOSURE)
    bodies = (clip - np.median(clip[:, [_HIPS]], axis=0)) * (-1, 1, -1)  # the sensor stands before the body
    bodies[..., 1] -= np.median(bodies[:, _FEET, 1])
    camera = Camera(yaw=YAW[view] + rng.normal(0, 5), shift=tuple(rng.uniform(-0.04, 0.04, 2)))
    pictures, joints = film(
        bodies[moments.clip(0, len(clip) - 1)], LOOK, COLOURS[colour], paint(background, side, rng), camera
    )
    words = Factors("raise", "head", colour, background, "slow", view)  # of which the templates say the clip's own
    written = [sentence(words, template, rng) for template in _TEMPLATES]
    return pictures, joints, Factors("", "", colour, background, "", view), written
