"""From raw clips to what the networks take: joints mapped, bodies chosen, poses centred and turned, one length.

Clips differ in what a sensor saw: bodies that come and go, one frame, nothing at all. Each such clip becomes a valid
input, and is counted.
"""

from collections import Counter
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from platform.errors import InputError
from platform.features.joints import JOINTS, Layout, joint_index, joint_map

_SHORTEST = 1e-6  # a bone below this length, in metres, has no direction

ODDITIES = {
    "empty": "no body in any frame: all zeros",
    "one frame": "one frame: it stands still for the whole length",
    "missing frames": "frames without a body: left out",
    "not finite": "frames with NaN or infinity: taken for missing",
    "two bodies": "two bodies",
    "more bodies": "more bodies than the network takes: those that move most are kept",
    "long": "longer than the network takes: frames left out evenly",
    "not turned": "no frame shows which way the body faces: left as it is",
}


class Preparation(BaseModel):
    """How a clip becomes (3, frames, joints, bodies). Defaults: ST-GCN's released data preparation for NTU RGB+D."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    layout: Layout | None = Field(None, description="joints the network takes; the data folder's own where absent")
    bodies: int = Field(2, ge=0, le=8, description="bodies a clip; 0: as many as the training clips show, at most 2")
    frames: int = Field(300, ge=4, multiple_of=4, description="length of every clip (released: 300)")
    lengthen: Literal["zeros", "loop", "resample"] = Field(
        "zeros",
        description="shorter clips end in zeros (ST-GCN released), repeat (Shift-GCN released) or are stretched",
    )
    centre: Literal["none", "first_frame", "every_frame"] = Field(
        "none", description="origin at the main body's spine, in the first or every frame (Shift-GCN released)"
    )
    turn: Literal["none", "trunk", "facing"] = Field(
        "none",
        description="trunk: spine along z and shoulders along x in the first frame (Shift-GCN released); "
        "facing: turned about the vertical to face one way (SA-DVAE, appendix C.1)",
    )
    masked: float = Field(
        0.0, ge=0, lt=0.5, description="share of the frames left out twice: those that move most, then at random (SMIE)"
    )
    scale: Literal["none", "torso"] = Field("none", description="torso: the main body's torso has length one")


def prepared(clip: np.ndarray, layout: Layout, preparation: Preparation, odd: Counter[str] | None = None) -> np.ndarray:
    """A clip (T, bodies, joints of `layout`, 3) as (3, frames, V, M) float32.

    preparation: its bodies must be given, not 0. odd: where what was odd about the clip is counted, by its name in
    ODDITIES. Raises InputError where the shape is wrong.
    """
    odd = Counter() if odd is None else odd
    if layout not in JOINTS:
        raise InputError(f"layout {layout}: there is no joint map of it; the extractors take {' or '.join(JOINTS)}")
    expected = len(JOINTS[layout])
    if clip.ndim != 4 or clip.shape[2:] != (expected, 3):
        raise InputError(f"clip of shape {clip.shape}; layout {layout} needs (frames, bodies, {expected}, 3)")
    target = preparation.layout or layout
    clip = clip.astype(np.float64)
    if not np.isfinite(clip).all():
        odd["not finite"] += 1
        clip[~np.isfinite(clip).all(axis=(2, 3))] = 0
    clip = _moving_most(clip[:, :, joint_map(layout, target)], preparation.bodies, odd)
    seen = (clip != 0).any(axis=(2, 3))  # (T, M)
    kept = seen.any(axis=1)
    if not kept.any():
        odd["empty"] += 1
        return np.zeros((3, preparation.frames, len(JOINTS[target]), preparation.bodies), np.float32)
    if not kept.all():
        odd["missing frames"] += 1
    clip, seen = clip[kept], seen[kept]
    if len(clip) == 1:
        odd["one frame"] += 1
    if len(clip) > preparation.frames and preparation.lengthen != "resample":
        odd["long"] += 1
    clip = _posed(clip, seen, target, preparation, odd)
    clip *= seen[:, :, None, None]  # a missing body stays all zeros
    if preparation.masked:
        kept = _frames_kept(clip, preparation.masked)
        clip, seen = clip[kept], seen[kept]
    return np.ascontiguousarray(_of_length(clip, seen, preparation).transpose(3, 0, 2, 1), dtype=np.float32)


def bodies_shown(clip: np.ndarray) -> int:
    """How many bodies of a clip (T, bodies, joints, 3) are there in some frame."""
    return int((np.nan_to_num(clip) != 0).any(axis=(0, 2, 3)).sum())


def _moving_most(clip: np.ndarray, bodies: int, odd: Counter[str]) -> np.ndarray:
    """(T, M, V, 3): the bodies that move most, most first (the released data preparation), and zeros for the rest."""
    shown = np.flatnonzero((clip != 0).any(axis=(0, 2, 3)))
    if len(shown) == 2:
        odd["two bodies"] += 1
    if len(shown) > bodies:
        odd["more bodies"] += 1
    motion = []
    for body in shown:
        there = clip[(clip[:, body] != 0).any(axis=(1, 2)), body]
        motion.append(there.std(axis=(0, 1)).sum())
    order = shown[np.argsort(motion, kind="stable")[::-1]][:bodies]
    chosen = np.zeros((len(clip), bodies, *clip.shape[2:]))
    chosen[:, : len(order)] = clip[:, order]
    return chosen


def _posed(
    clip: np.ndarray, seen: np.ndarray, layout: Layout, preparation: Preparation, odd: Counter[str]
) -> np.ndarray:
    """All bodies moved, turned and scaled as the main body's pose says."""
    present = seen[:, 0]  # the main body, which moves most
    main = clip[present, 0]  # (frames with it, V, 3)
    if preparation.centre != "none":
        clip = clip - _origin(main, present, layout, preparation.centre)
    if preparation.turn != "none":
        rotation = _trunk(main, layout) if preparation.turn == "trunk" else _facing(main, layout)
        if rotation is None:
            odd["not turned"] += 1
        else:
            clip = clip @ rotation.T
    if preparation.scale == "torso":
        torso = main[:, joint_index(layout, "shoulder centre")] - main[:, joint_index(layout, "hip centre")]
        length = np.linalg.norm(torso, axis=1).mean()
        clip = clip / (length if length > _SHORTEST else 1.0)
    return clip


def _origin(main: np.ndarray, present: np.ndarray, layout: Layout, centre: str) -> np.ndarray:
    """(1 or T, 1, 1, 3): the main body's spine; where it is missing, where it was last, or first."""
    spine = main[:, joint_index(layout, "spine")]
    if centre == "first_frame":
        return spine[0].reshape(1, 1, 1, 3)
    latest = np.maximum(np.cumsum(present) - 1, 0)
    return spine[latest][:, None, None]


def _trunk(main: np.ndarray, layout: Layout) -> np.ndarray | None:
    """(3, 3) rotation that takes the first frame's spine to z and its shoulders, left to right, into the x-z plane.

    The released data preparation turns the shoulders alone in a second step, which tilts the spine again.
    """
    hips, spine, left, right = (
        main[:, joint_index(layout, name)] for name in ("hip centre", "spine", "left shoulder", "right shoulder")
    )
    for up, across in zip(spine - hips, right - left, strict=True):
        height = np.linalg.norm(up)
        if height < _SHORTEST:
            continue
        z = up / height
        level = across - (across @ z) * z
        width = np.linalg.norm(level)
        if width >= _SHORTEST:
            x = level / width
            return np.stack([x, np.cross(z, x), z])
    return None


def _facing(main: np.ndarray, layout: Layout) -> np.ndarray | None:
    """(3, 3) rotation about the vertical, y, that takes the mean right-to-left vector of shoulders and hips to x.

    The body then faces z, the cross product of that vector with the vertical (SA-DVAE, appendix C.1, after Holden et
    al., 2016).
    """
    left, right = (
        [joint_index(layout, f"{side} {joint}") for joint in ("shoulder", "hip")] for side in ("left", "right")
    )
    across = (main[:, left] - main[:, right]).mean(axis=(0, 1))  # to the body's left
    width = np.hypot(across[0], across[2])
    if width < _SHORTEST:
        return None
    cosine, sine = across[0] / width, across[2] / width
    return np.array([[cosine, 0, sine], [0, 1, 0], [-sine, 0, cosine]])


def _frames_kept(clip: np.ndarray, share: float) -> np.ndarray:
    """Frames (T',) that stay, in order: those that move least to both sides, and of these some drawn at random.

    SMIE's released code keeps 35 of 50 frames so, and draws 20 of them anew at each step; here each clip has one draw,
    named by its own length and frames.
    """
    import torch

    from platform.population.draws import generator

    count = len(clip)
    left_out = min(round(share * count), (count - 1) // 2)
    steps = np.diff(clip, axis=0)
    motion = np.zeros(count)
    motion[:-1] += (steps**2).mean(axis=(1, 2, 3))
    motion[1:] += (steps**2).mean(axis=(1, 2, 3))
    still = np.sort(np.argsort(motion, kind="stable")[: count - left_out])
    draw = generator("masked frames", count, float(clip.sum()))
    drawn = torch.randperm(len(still), generator=draw)[: len(still) - left_out].numpy()
    return still[np.sort(drawn)]


def _of_length(clip: np.ndarray, seen: np.ndarray, preparation: Preparation) -> np.ndarray:
    """(frames, M, V, 3)."""
    count, frames = len(clip), preparation.frames
    if preparation.lengthen == "resample":
        at = np.linspace(0, count - 1, frames)
        lower = at.astype(int)
        upper = np.minimum(lower + 1, count - 1)
        weight = (at - lower)[:, None, None, None]
        there = (seen[lower] & seen[upper])[:, :, None, None]  # a body is not drawn towards the origin as it goes
        return (clip[lower] * (1 - weight) + clip[upper] * weight) * there
    if count > frames:
        return clip[np.linspace(0, count - 1, frames).round().astype(int)]
    if preparation.lengthen == "loop":
        return clip[np.arange(frames) % count]
    return np.concatenate([clip, np.zeros((frames - count, *clip.shape[1:]))])
