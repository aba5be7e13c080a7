"""What a depth sensor makes of a body: a view from its place, noise, and joints that it loses."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Camera:
    """A sensor that looks at the body from `yaw` degrees aside."""

    yaw: float
    height: float  # metres above the floor
    distance: float  # metres


CAMERAS = (Camera(0, 1.2, 3.5), Camera(-45, 1.4, 3.0), Camera(45, 1.0, 4.0))

AIM = 1.0  # metres above the floor: where every sensor looks

_MISALIGNED = 6.0  # degrees, how squarely people face the first sensor
_JITTER = 0.010  # metres, of a joint in plain sight
_LOSS = 0.25  # chance that a clip loses a hand or a foot for a while
_LOST = 0.15  # metres, how far off a lost joint is guessed
_ENDS = ([6, 7, 21, 22], [10, 11, 23, 24], [14, 15], [18, 19])  # joints lost together: the hands and the feet


def view(body: np.ndarray, camera: Camera, rng: np.random.Generator) -> np.ndarray:
    """A clip as the sensor sees it: (T, 25, 3) float32 metres, x to the sensor's left, y up, z depth.

    body: (T, 25, 3) metres, facing +z, its origin the point that the sensor looks at, AIM metres above the floor.
    """
    yaw = np.radians(camera.yaw + rng.normal(0, _MISALIGNED))
    rise = camera.height - AIM
    clip = body @ towards(yaw, np.arctan2(rise, camera.distance)) + [0, 0, np.hypot(camera.distance, rise)]
    hidden = np.maximum(clip[..., 2] - clip[:, :1, 2], 0)  # what lies behind the body's middle is seen worse
    clip += rng.standard_normal(clip.shape) * (_JITTER * (1 + 6 * hidden))[..., None]
    if rng.random() < _LOSS:
        first, frames = rng.integers(len(clip)), rng.integers(2, 10)
        clip[first : first + frames, _ENDS[rng.integers(len(_ENDS))]] += rng.normal(0, _LOST, 3)
    return clip.astype(np.float32)


def towards(yaw: float, tilt: float) -> np.ndarray:
    """(3, 3) to multiply from the right: turn by yaw, tilt, and take the sensor's axes (x and z point backwards)."""
    c, s = np.cos(yaw), np.sin(yaw)
    turn = np.array([[c, 0, -s], [0, 1, 0], [s, 0, c]])
    c, s = np.cos(tilt), np.sin(tilt)
    return turn @ np.array([[1, 0, 0], [0, c, s], [0, -s, c]]) @ np.diag([-1.0, 1, -1])
