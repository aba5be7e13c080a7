"""The joints of both Kinect sensors: their names, the tree that joins them, and maps from one to the other.

Kinect v1 tracks 20 joints, Kinect v2 25 (the order of NTU RGB+D): the neck, hand tips and thumbs are added.
"""

from itertools import pairwise
from typing import Literal

import numpy as np

Layout = Literal["kinect_v1", "kinect_v2"]

_SIDES = ("left", "right")
_ARM, _LEG = ("shoulder", "elbow", "wrist", "hand"), ("hip", "knee", "ankle", "foot")
_LIMBS = [f"{side} {joint}" for limb in (_ARM, _LEG) for side in _SIDES for joint in limb]
_FINGERS = [f"{side} {finger}" for side in _SIDES for finger in ("hand tip", "thumb")]
JOINTS: dict[str, tuple[str, ...]] = {
    "kinect_v1": ("head", "shoulder centre", "spine", "hip centre", *_LIMBS),
    "kinect_v2": ("hip centre", "spine", "neck", "head", *_LIMBS, "shoulder centre", *_FINGERS),
}
CENTRE = "shoulder centre"  # the centre of the graph, as in ST-GCN's released code for NTU RGB+D
_PARENTS = {
    **dict.fromkeys(("head", "neck", "spine", "left shoulder", "right shoulder"), "shoulder centre"),
    **dict.fromkeys(("left hip", "right hip"), "hip centre"),
    "hip centre": "spine",
}
for _chain in ((*_ARM, "thumb", "hand tip"), _LEG):
    _PARENTS |= {f"{side} {joint}": f"{side} {parent}" for side in _SIDES for parent, joint in pairwise(_chain)}

# what stands in for a joint that the other sensor does not track
_STAND_INS = {"neck": "shoulder centre", **{finger: f"{finger.split()[0]} hand" for finger in _FINGERS}}


def joint_index(layout: Layout, name: str) -> int:
    """Where a joint stands in a layout."""
    return JOINTS[layout].index(name)


def bones(layout: Layout) -> list[tuple[int, int]]:
    """(joint, parent) of every joint but the centre, in Kinect v2 as in ST-GCN's released graph of NTU RGB+D."""
    names = JOINTS[layout]
    parents = {**_PARENTS, "head": "neck"} if "neck" in names else _PARENTS
    return [(i, names.index(parents[name])) for i, name in enumerate(names) if name != CENTRE]


def joint_map(source: Layout, target: Layout) -> np.ndarray:
    """(joints of target,) the joint of `source` that each one is taken from.

    From v1 to v2 the neck is taken from the shoulder centre, hand tips and thumbs from the hands; from v2 to v1 the
    joints that v1 lacks are left out.
    """
    known = JOINTS[source]
    return np.array([known.index(name if name in known else _STAND_INS[name]) for name in JOINTS[target]])
