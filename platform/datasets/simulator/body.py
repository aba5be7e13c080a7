"""The body: a tree of 25 joints that is posed by turning seven of them.

The body's own frame is right-handed: x to its left, y up, z forward; metres. Segment lengths are fractions of height
after Drillis and Contini (1966), as tabled in Winter, "Biomechanics and Motor Control of Human Movement".
"""

import numpy as np

CHAINS = ("left arm", "right arm", "left leg", "right leg", "head", "trunk")
AXES = ("lift", "spread", "twist", "fold")  # forwards and up; sideways; about its own length; at elbow, knee or waist

# Joint of Kinect v2 (the published order less one): parent, the segment that carries it, offset in fractions of height.
_MIDLINE = {
    1: (0, "lower trunk", (0, 0.144, 0)),
    20: (1, "upper trunk", (0, 0.144, 0)),
    2: (20, "neck", (0, 0.045, 0)),
    3: (2, "head", (0, 0.090, 0.040)),
}
_LEFT_SIDE = {
    4: (20, "upper trunk", (0.115, -0.01, 0)),
    5: (4, "upper arm", (0, -0.186, 0)),
    6: (5, "forearm", (0, -0.146, 0)),
    7: (6, "forearm", (0, -0.050, 0)),
    21: (7, "forearm", (0, -0.055, 0)),
    22: (7, "forearm", (-0.015, -0.025, 0.025)),
    12: (0, "pelvis", (0.05, -0.01, 0)),
    13: (12, "thigh", (0, -0.245, 0)),
    14: (13, "shank", (0, -0.246, 0)),
    15: (14, "shank", (0, -0.025, 0.09)),
}
_RIGHT_OF = {4: 8, 5: 9, 6: 10, 7: 11, 21: 23, 22: 24, 12: 16, 13: 17, 14: 18, 15: 19}
_RIGHT_SIDE = {
    _RIGHT_OF[joint]: (_RIGHT_OF.get(parent, parent), segment, (-x, y, z))
    for joint, (parent, segment, (x, y, z)) in _LEFT_SIDE.items()
}
_SIDE = dict.fromkeys(_LEFT_SIDE, "left ") | dict.fromkeys(_RIGHT_SIDE, "right ")
_PAIRED = {"upper arm", "forearm", "thigh", "shank"}
# Parents stand before their children, as the walk down the tree needs.
_TREE = {
    joint: (parent, (_SIDE[joint] if segment in _PAIRED else "") + segment, offset)
    for joint, (parent, segment, offset) in (_MIDLINE | _LEFT_SIDE | _RIGHT_SIDE).items()
}
JOINTS = 1 + len(_TREE)
PARENTS = {joint: parent for joint, (parent, _, _) in _TREE.items()}
HIP_HEIGHT = 0.53  # of the base of the spine above the floor, in fractions of height
_STRETCH = {"arm": {"upper arm", "forearm"}, "leg": {"thigh", "shank"}}


def bone_offsets(height: float, arm: float = 1, leg: float = 1, trunk: float = 1) -> np.ndarray:
    """(25, 3) of each joint from its parent, in its segment's frame, in metres; the ratios are 1 on average."""
    offsets = np.zeros((JOINTS, 3))
    for joint, (_, segment, offset) in _TREE.items():
        kind = segment.removeprefix("left ").removeprefix("right ")
        ratio = arm if kind in _STRETCH["arm"] else leg if kind in _STRETCH["leg"] else trunk
        offsets[joint] = np.array(offset) * height * ratio
    return offsets


def joint_positions(angles: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Forward kinematics, the base of the spine at the origin.

    angles: (..., 6, 4) radians by CHAINS and AXES; offsets: (25, 3) of `bone_offsets`. Returns (..., 25, 3) metres.
    """
    segments = _segment_orientations(angles)
    positions = np.zeros((*angles.shape[:-2], JOINTS, 3))
    for joint, (parent, segment, _) in _TREE.items():
        positions[..., joint, :] = positions[..., parent, :] + segments[segment] @ offsets[joint]
    return positions


def _segment_orientations(angles: np.ndarray) -> dict[str, np.ndarray]:
    """Segment to (..., 3, 3), its frame in the body's."""
    lift, spread, twist, fold = (
        dict(zip(CHAINS, np.moveaxis(a, -1, 0), strict=True)) for a in np.moveaxis(angles, -1, 0)
    )

    def spine(chain: str, part: float) -> np.ndarray:
        bend = _rotation(2, -part * spread[chain]) @ _rotation(0, part * (fold[chain] - lift[chain]))
        return _rotation(1, part * twist[chain]) @ bend

    half_trunk, half_neck = spine("trunk", 0.5), spine("head", 0.5)  # a spine bends along its length, not in one place
    upper_trunk = half_trunk @ half_trunk
    segments = {
        "pelvis": np.broadcast_to(np.eye(3), (*angles.shape[:-2], 3, 3)),
        "lower trunk": half_trunk,
        "upper trunk": upper_trunk,
        "neck": upper_trunk @ half_neck,
        "head": upper_trunk @ half_neck @ half_neck,
    }
    for side, sign in (("left", 1), ("right", -1)):
        for limb, near, far, base, hinge in (
            ("arm", "upper arm", "forearm", upper_trunk, -1),
            ("leg", "thigh", "shank", segments["pelvis"], 1),  # a knee folds backwards, an elbow forwards
        ):
            chain = f"{side} {limb}"
            swing = _rotation(2, sign * spread[chain]) @ _rotation(0, -lift[chain])
            segments[f"{side} {near}"] = base @ swing @ _rotation(1, sign * twist[chain])
            segments[f"{side} {far}"] = segments[f"{side} {near}"] @ _rotation(0, hinge * fold[chain])
    return segments


def _rotation(axis: int, angle: np.ndarray) -> np.ndarray:
    """(...) radians to (..., 3, 3), right-handed about one coordinate axis."""
    i, j = (axis + 1) % 3, (axis + 2) % 3
    matrix = np.zeros((*angle.shape, 3, 3))
    matrix[..., axis, axis] = 1
    matrix[..., i, i] = matrix[..., j, j] = np.cos(angle)
    matrix[..., j, i] = np.sin(angle)
    matrix[..., i, j] = -matrix[..., j, i]
    return matrix
