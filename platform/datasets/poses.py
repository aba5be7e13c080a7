"""A classical descriptor of a skeleton clip: it needs no training and is the same for Kinect v1 and v2.

Each clip is canonicalised (root at the origin, one common facing direction, torso of length one), then every joint is
described by its place, its slow trajectory (the first cosine coefficients) and its speed in three bands of tempo.
"""

from collections.abc import Iterable, Sequence
from itertools import islice, pairwise

import numpy as np

from platform.datasets.contents import JOINTS_AND_AXES, JointLayout
from platform.errors import InputError

POSE_EXTRACTOR = (
    "pose statistics: 20 common joints, root-centred, turned to face one way, torso length 1; per joint and axis the "
    "mean, the deviation and cosine coefficients 1 to 4, per joint the mean and peak speed and the energy in three "
    "frequency bands, per limb the share of movement"
)

# The 20 joints of Kinect v1 in its order, as indices into each layout. Kinect v2 adds the neck, hand tips and thumbs.
_COMMON_JOINTS = {
    "kinect_v1": list(range(20)),
    "kinect_v2": [3, 20, 1, 0, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19],
}
_SHOULDER_CENTRE, _HIP_CENTRE = 1, 3
_LEFT, _RIGHT = [4, 12], [8, 16]  # shoulder and hip
_LIMBS = {"trunk": [0, 1, 2, 3], "left arm": [4, 5, 6, 7], "right arm": [8, 9, 10, 11]} | {
    "left leg": [12, 13, 14, 15],
    "right leg": [16, 17, 18, 19],
}
_FRAMES = 64  # every clip is resampled to this many before its statistics are taken
_RATE = 30.0  # frames a second of both sensors
_BATCH = 2048  # clips described at once, so that memory does not grow with their number
_COSINES = 4
_BANDS = (0.0, 1.0, 2.5, 15.0)  # Hz: slow gestures, swings and waves, shaking
_DIMENSION = 20 * (3 + 3 + 3 * _COSINES + 1 + 1 + 3) + len(_LIMBS)  # 465


def has_pose_descriptor(layout: JointLayout) -> bool:
    """Whether clips of this layout have a pose descriptor: it needs the common joints of the Kinects, in space."""
    return layout in _COMMON_JOINTS


def pose_descriptor(clip: np.ndarray, layout: JointLayout, rate: float = _RATE) -> np.ndarray:
    """(T, joints, 3) of one body, y up, in any unit, to (465,) float32.

    rate: frames a second. Raises InputError where the shape is wrong, or the layout has no pose descriptor.
    """
    return pose_descriptors([clip], layout, rate)[0]


def pose_descriptors(clips: Iterable[np.ndarray], layout: JointLayout, rate: float = _RATE) -> np.ndarray:
    """As `pose_descriptor`, for clips of any lengths: (N, 465) float32."""
    if not has_pose_descriptor(layout):
        layouts = ", ".join(_COMMON_JOINTS)
        raise InputError(f"no pose descriptor for layout {layout}: it needs joints in space, as {layouts} have them")
    remaining, described = iter(clips), [np.empty((0, _DIMENSION), np.float32)]
    while batch := list(islice(remaining, _BATCH)):
        described.append(_described(batch, layout, rate))
    return np.concatenate(described)


def _described(clips: Sequence[np.ndarray], layout: JointLayout, rate: float) -> np.ndarray:
    resampled, lengths = [], []
    for clip in clips:
        joints, axes = JOINTS_AND_AXES[layout]
        if clip.ndim != 3 or not len(clip) or clip.shape[1:] != (joints, axes):
            expected = f"(frames, {joints}, {axes})"
            raise InputError(f"clip of shape {clip.shape}; layout {layout} needs {expected} and at least one frame")
        resampled.append(_resample(_without_spikes(clip[:, _COMMON_JOINTS[layout]].astype(np.float32))))
        lengths.append(len(clip))
    positions, scale = _canonical(np.stack(resampled))
    return _describe(positions / scale, np.maximum(np.array(lengths) - 1, 1) / rate)


def _without_spikes(clip: np.ndarray) -> np.ndarray:
    """Median of three frames: a tracker that loses a joint for one frame must not set the peak speed."""
    before, after = clip[[0, *range(len(clip) - 1)]], clip[[*range(1, len(clip)), -1]]
    return np.maximum(np.minimum(before, after), np.minimum(np.maximum(before, after), clip))


def _resample(clip: np.ndarray) -> np.ndarray:
    """(T, J, 3) to (64, J, 3) by linear interpolation."""
    at = np.linspace(0, len(clip) - 1, _FRAMES)
    lower = at.astype(int)
    weight = (at - lower).astype(np.float32)[:, None, None]
    return clip[lower] * (1 - weight) + clip[np.minimum(lower + 1, len(clip) - 1)] * weight


def _canonical(clips: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(N, 64, 20, 3) clips turned to face +z and their (N, 1, 1, 1) torso lengths.

    Joints are relative to the hip centre, and the hip centre, which would be nothing but zeros, to its mean place.
    The facing direction is the cross product of the mean left-to-right vector of shoulders and hips with the vertical
    (SA-DVAE, appendix C.1, after Holden et al., 2016), taken once a clip so that turning stays visible.
    """
    across = (clips[:, :, _LEFT] - clips[:, :, _RIGHT]).mean(axis=(1, 2))  # (N, 3), to the body's left
    facing = np.arctan2(-across[:, 2], across[:, 0])  # (N,) yaw that takes +x to the body's left; 0 for an empty clip
    cosine, sine = np.cos(facing), np.sin(facing)
    zero, one = np.zeros_like(facing), np.ones_like(facing)
    turn = np.stack([cosine, zero, sine, zero, one, zero, -sine, zero, cosine], axis=1).reshape(-1, 1, 3, 3)
    root = clips[:, :, [_HIP_CENTRE]]
    centred = clips - root
    centred[:, :, [_HIP_CENTRE]] = root - root.mean(axis=1, keepdims=True)
    torso = np.linalg.norm((clips[:, :, _SHOULDER_CENTRE] - clips[:, :, _HIP_CENTRE]), axis=-1).mean(axis=1)
    return centred @ turn, np.where(torso > 0, torso, 1)[:, None, None, None]


def _describe(positions: np.ndarray, seconds: np.ndarray) -> np.ndarray:
    """positions: (N, 64, 20, 3) canonical; seconds: (N,) duration of each clip."""
    count = len(positions)
    mean, deviation = positions.mean(axis=1), positions.std(axis=1)  # (N, 20, 3)
    time = (np.arange(_FRAMES) + 0.5) / _FRAMES
    cosines = np.cos(np.pi * np.outer(np.arange(1, _COSINES + 1), time)).astype(np.float32) * (2 / _FRAMES)
    trajectory = np.einsum("kt,ntja->nkja", cosines, positions)  # type-II cosine transform, coefficients 1 to 4

    velocity = np.diff(positions, axis=1) * ((_FRAMES - 1) / seconds)[:, None, None, None]  # torso lengths a second
    speed = np.linalg.norm(velocity, axis=-1)  # (N, 63, 20)
    spectrum = (np.abs(np.fft.rfft(velocity, axis=1)) ** 2).sum(axis=-1)  # (N, 32, 20)
    hertz = np.arange(spectrum.shape[1]) / seconds[:, None]  # (N, 32)
    bands = [(hertz >= low) & (hertz < high) for low, high in pairwise(_BANDS)]
    # roots, so that one violent clip does not stretch the scale on which all the others are told apart
    tempo = np.sqrt([(spectrum * band[:, :, None]).sum(axis=1) for band in bands]) / _FRAMES  # (3, N, 20)

    movement = np.stack([speed[:, :, joints].mean(axis=(1, 2)) for joints in _LIMBS.values()], axis=1)  # (N, 5)
    share = movement / np.maximum(movement.sum(axis=1, keepdims=True), 1e-6)
    parts = [mean, deviation, trajectory, speed.mean(axis=1), speed.max(axis=1), tempo.transpose(1, 0, 2), share]
    return np.concatenate([part.reshape(count, -1) for part in parts], axis=1).astype(np.float32)
