"""From the clips that a reader found to a data set: bodies chosen, odd clips counted, pose descriptors beside them."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from platform.datasets.contents import ClassInfo, Contents, FeatureArray, JointLayout, Skeletons
from platform.datasets.poses import POSE_EXTRACTOR, has_pose_descriptor, pose_descriptors
from platform.datasets.trained_on import NOT_TRAINED
from platform.errors import InputError

BODIES = 2  # at most, of a clip: no data set here has more actors
_SENSOR_RATE = 30.0

# What may be odd about a clip, and what becomes of it. The order is that of the notes.
LISTED = "left out: their makers list them as having no or incomplete skeletons"
OUTSIDE = "left out: of classes or setups outside the class list"
UNPARTED = "left out: in neither partition"
_EMPTY = "left out: no body in any frame"
_TWO_BODIES = "with two bodies"
_MORE_BODIES = "with more than two bodies, of which the two that move most are kept"
_ONE_FRAME = "of a single frame"
_MISSING = "with frames without a body, which are zeros there"
_NOT_FINITE = "with NaN or infinity, where the body is taken for missing"
_ORDER = (LISTED, OUTSIDE, UNPARTED, _EMPTY, _TWO_BODIES, _MORE_BODIES, _ONE_FRAME, _MISSING, _NOT_FINITE)


@dataclass(frozen=True)
class RawClip:
    """One recording. joints: (T, bodies, joints, axes), a missing body all zeros; subject: −1 where unknown."""

    id: str
    label: int
    subject: int
    train: bool
    joints: np.ndarray


def contents_of_clips(
    clips: Iterable[RawClip],
    *,
    name: str,
    layout: JointLayout,
    classes: Sequence[str],
    class_list: str | None,
    licence: str,
    source: str,
    left_out: Counter[str] | None = None,
    rate: float = _SENSOR_RATE,
) -> Contents:
    """The data set, its notes saying how many clips are odd, and how.

    clips: read one by one; they may count what they leave out in `left_out` meanwhile. Where the layout has a pose
    descriptor, it is the feature set `pose`, of the body that moves most. Raises InputError where no clip is left.
    """
    odd: Counter[str] = Counter()
    kept = []
    for clip in clips:
        bodies = _bodies(clip.joints, odd)
        if bodies is None:
            odd[_EMPTY] += 1
        else:
            kept.append(replace(clip, joints=bodies))
    if not kept:
        raise InputError(
            f"{name}: no clip with a body is left to import ({'; '.join(_notes(odd, left_out)) or 'none'})"
        )
    features = {}
    if has_pose_descriptor(layout):
        poses = pose_descriptors((_main(clip.joints) for clip in kept), layout, rate)
        extractor = f"{POSE_EXTRACTOR}; of the body that moves most" if odd[_TWO_BODIES] else POSE_EXTRACTOR
        features["pose"] = FeatureArray(poses, extractor, "standard", trained_on=NOT_TRAINED)
    subjects = np.array([clip.subject for clip in kept])
    return Contents(
        name=name,
        modality="skeleton",
        licence=licence,
        source=source,
        classes=[ClassInfo(name=n) for n in classes],
        labels=np.array([clip.label for clip in kept]),
        train=np.array([clip.train for clip in kept]),
        features=features,
        ids=[clip.id for clip in kept],
        groups=subjects if (subjects >= 0).all() else None,
        class_list=class_list,
        skeletons=Skeletons([clip.joints for clip in kept], layout),
        notes=_notes(odd, left_out),
    )


def motion(body: np.ndarray) -> float:
    """How much a body (T, joints, axes) moves and how large it is: ST-GCN's measure, to tell people from ghosts.

    The sum over the axes of the standard deviation of all joints in all frames in which the body is there.
    """
    there = body[body.any(axis=(1, 2))]
    return float(there.std(axis=(0, 1)).sum()) if len(there) else 0.0


def _bodies(joints: np.ndarray, odd: Counter[str]) -> np.ndarray | None:
    """(T, 1 or 2, joints, axes) float32, the body that moves most first; None where no frame shows one."""
    joints = np.asarray(joints, dtype=np.float32)
    finite = np.isfinite(joints).all(axis=(2, 3))  # (T, bodies)
    if not finite.all():
        odd[_NOT_FINITE] += 1
        joints = np.where(finite[:, :, None, None], joints, np.float32(0))
    shown = np.flatnonzero(joints.any(axis=(0, 2, 3)))
    if not len(shown):
        return None
    odd[_TWO_BODIES] += len(shown) == BODIES
    odd[_MORE_BODIES] += len(shown) > BODIES
    odd[_ONE_FRAME] += len(joints) == 1
    odd[_MISSING] += not joints.any(axis=(1, 2, 3)).all()
    moving = sorted(shown, key=lambda body: -motion(joints[:, body]))[:BODIES]
    return np.ascontiguousarray(joints[:, moving])


def _main(bodies: np.ndarray) -> np.ndarray:
    """(T', joints, axes): the first body, in the frames in which it is there."""
    main = bodies[:, 0]
    return main[main.any(axis=(1, 2))]


def _notes(odd: Counter[str], left_out: Counter[str] | None) -> list[str]:
    counts = odd + (left_out or Counter())
    return [f"{counts[what]:,} clip{'s' * (counts[what] != 1)} {what}" for what in _ORDER if counts[what]]
