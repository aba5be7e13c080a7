"""Shift-GCN with its published weights, on UTD-MHAD's raw clips, against features that were made with them before."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from platform.datasets.readers.utd_clips import read_clips
from platform.features.extractors import find_extractor
from platform.features.preparation import prepared
from platform.features.saved import published

DATA = Path(os.environ.get("UNSEEN_DATA", Path(__file__).parents[2] / ".." / "shared" / "data")).resolve()
WEIGHTS, CLIPS, FEATURES = (
    DATA / path
    for path in (
        "shiftgcn_weights/ntu_ShiftGCN_joint_xsub.pt",
        "utd_mhad/Skeleton.zip",
        "utd_mhad/utd_shiftgcn.npz",
    )
)

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(
        not all(path.exists() for path in (WEIGHTS, CLIPS, FEATURES)),
        reason=f"no Shift-GCN weights, UTD-MHAD clips and features in UNSEEN_DATA ({DATA})",
    ),
]


def test_the_published_weights_give_the_published_features():
    config = find_extractor("shiftgcn").configure({}, "utd")
    extractor = published("shiftgcn", config, WEIGHTS)
    clips, expected = read_clips(CLIPS), np.load(FEATURES)
    assert [clip.action for clip in clips] == expected["y"].tolist()
    rows = list(range(0, 861, 54))
    x = np.stack([prepared(clips[row].joints[:, None], "kinect_v1", extractor.config) for row in rows])
    with torch.inference_mode():
        features, logits = extractor.network(torch.from_numpy(x))
    np.testing.assert_allclose(features, expected["f"][rows], rtol=0, atol=1e-5)
    np.testing.assert_allclose(logits, expected["l"][rows], rtol=0, atol=5e-5)


def test_the_released_kernel_looks_half_a_frame_further_than_those_features():
    config = find_extractor("shiftgcn").configure({"stride_ahead": 0.5}, "utd")
    extractor = published("shiftgcn", config, WEIGHTS)
    clip = read_clips(CLIPS)[0].joints[:, None]
    x = torch.from_numpy(prepared(clip, "kinect_v1", extractor.config))[None]
    with torch.inference_mode():
        features, _ = extractor.network(x)
    apart = np.abs(features.numpy()[0] - np.load(FEATURES)["f"][0]).max()
    assert 0.01 < apart < 1
