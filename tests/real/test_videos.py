"""I3D's pipeline over real clips: what decoding and flow give, and features of a network that nobody trained."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from platform.features.videos.decoding import sampled_frames
from platform.features.videos.extraction import Extraction, extract
from platform.features.videos.flow import flow_method
from platform.features.videos.i3d import I3D
from platform.features.videos.inputs import network_inputs

DATA = Path(os.environ.get("UNSEEN_DATA", Path(__file__).parents[2] / ".." / "shared" / "data")).resolve()
CLIPS = {name: DATA / "clips" / name for name in ("demo.mp4", "part_0.mp4", "test.mp4")}

pytest.importorskip("av")
pytest.importorskip("cv2")
pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(
        not all(path.exists() for path in CLIPS.values()), reason=f"no video clips in UNSEEN_DATA ({DATA})"
    ),
]


@pytest.mark.parametrize(("name", "frames"), [("demo.mp4", 250), ("part_0.mp4", 28), ("test.mp4", 250)])
def test_clips_of_28_and_30_frames_a_second_are_sampled_at_25(name, frames):
    shapes = [image.shape for image in sampled_frames(CLIPS[name], 1000)]
    assert shapes == frames * [(256, 340, 3)]


def test_both_flows_see_the_same_motion():
    fields = [
        network_inputs(CLIPS["part_0.mp4"], 16, False, flow_method(name))["flow"].numpy()
        for name in ("tvl1", "farneback")
    ]
    moved = [np.abs(field).mean() for field in fields]
    assert min(moved) > 1e-3
    assert np.corrcoef(fields[0].ravel(), fields[1].ravel())[0, 1] > 0.5


def test_features_are_finite_and_differ(tmp_path):
    torch.manual_seed(0)
    for name, channels in (("rgb", 3), ("flow", 2)):
        torch.save(I3D(channels).state_dict(), tmp_path / f"{name}.pt")
    for name, path in CLIPS.items():
        (tmp_path / "videos" / "class").mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, tmp_path / "videos" / "class" / name)
    cut = (tmp_path / "videos" / "class" / "test.mp4").read_bytes()
    (tmp_path / "videos" / "class" / "cut.mp4").write_bytes(cut[: len(cut) // 2])
    asked = Extraction(
        folder=tmp_path / "videos",
        rgb=tmp_path / "rgb.pt",
        flow_weights=tmp_path / "flow.pt",
        flow="farneback",
        frames=16,
    )
    found = extract(asked, tmp_path / "out")
    assert list(found.unreadable) == ["class/cut.mp4"]
    features = found.features()
    assert features.shape == (3, 8192)
    assert np.isfinite(features).all()
    assert all((part[:, None] != part).any(axis=2)[~np.eye(3, dtype=bool)].all() for part in np.split(features, 2, 1))
