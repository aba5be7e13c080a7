"""The inputs of the two streams' networks from one video."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from platform.features.videos.decoding import centre_crop, sampled_frames
from platform.features.videos.extra import needed
from platform.features.videos.flow import Flow, scaled

Stream = Literal["rgb", "flow"]
SHORTEST = 16  # frames, of which Mixed_5c makes two places in time


def network_inputs(path: Path, most: int, rgb: bool, flow: Flow | None) -> Mapping[Stream, Tensor]:
    """Clips of a video by stream: rgb (1, 3, T, 224, 224), flow (1, 2, T, 224, 224), both float32 in [−1, 1].

    most: frames (see `sampled_frames`). flow: None for no such stream; it is computed on the whole resized grey frames
    and cropped then, each field from a frame to the next, and the last field stands twice, so that both streams are
    equally long. Videos of fewer than 16 frames are looped; no flow leads from the end back to the beginning. Raises
    Unreadable as `sampled_frames` does.
    """
    images: list[np.ndarray] = []
    fields: list[np.ndarray] = []
    before = None
    for image in sampled_frames(path, most):
        if rgb:
            images.append(centre_crop(image).copy())  # a view would keep the whole frame
        if flow is not None:
            cv2 = needed("cv2")
            grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
            if before is not None:
                fields.append(scaled(centre_crop(flow(before, grey))))
            before = grey
    found: dict[Stream, Tensor] = {}
    if rgb:
        found["rgb"] = _clip(images) / 127.5 - 1
    if flow is not None:
        found["flow"] = _clip([*fields, fields[-1]])
    return found


def _clip(frames: list[np.ndarray]) -> Tensor:
    """T images (224, 224, C) to (1, C, max(T, 16), 224, 224)."""
    looped = [frames[i % len(frames)] for i in range(max(len(frames), SHORTEST))]
    return torch.from_numpy(np.stack(looped)).permute(3, 0, 1, 2)[None].float()
