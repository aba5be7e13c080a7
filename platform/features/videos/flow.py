"""Optical flow between two frames: TV-L1, which I3D was trained on, or Farnebäck's, which is quicker and coarser."""

from collections.abc import Callable
from typing import Literal, get_args

import numpy as np

from platform.errors import InputError
from platform.features.videos.extra import INSTALL, needed

FlowName = Literal["tvl1", "farneback"]
Flow = Callable[[np.ndarray, np.ndarray], np.ndarray]

_LIMIT = 20.0  # pixels


def flow_method(name: str) -> Flow:
    """A function of two grey images (H, W) uint8 to the flow (H, W, 2) float32 in pixels: to the right, and down.

    tvl1: Zach, Pock and Bischof (2007), as I3D's authors used; farneback: Farnebäck (2003), with the values of OpenCV's
    own examples. Raises InputError for another name, and where OpenCV or its contributed part is not installed.
    """
    if name not in get_args(FlowName):
        raise InputError(f"--flow {name}: expected tvl1, farneback or none")
    cv2 = needed("cv2")
    if name == "farneback":
        return lambda first, second: cv2.calcOpticalFlowFarneback(first, second, None, 0.5, 3, 15, 3, 5, 1.2, 0)
    create = getattr(getattr(cv2, "optflow", None), "DualTVL1OpticalFlow_create", None)
    if create is None:
        raise InputError(
            f"--flow tvl1: this OpenCV has no optflow; pip uninstall it and {INSTALL}, or give --flow farneback"
        )
    algorithm = create()
    return lambda first, second: algorithm.calc(first, second, None)


def scaled(flow: np.ndarray) -> np.ndarray:
    """Flow truncated to [−20, 20] pixels and scaled to [−1, 1], as for I3D (deepmind/kinetics-i3d)."""
    return np.clip(flow, -_LIMIT, _LIMIT) / np.float32(_LIMIT)
