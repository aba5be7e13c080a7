import json
import shutil

import numpy as np
import pytest
import torch

from platform.errors import InputError
from platform.features.videos import extraction as module
from platform.features.videos.extraction import (
    RECORD,
    UNREADABLE,
    Extraction,
    check,
    extract,
    feature_path,
    find_videos,
)
from platform.features.videos.flow import flow_method
from platform.features.videos.i3d import pooled, read_i3d
from platform.features.videos.inputs import network_inputs

pytest.importorskip("av")

READABLE = ["clap/v_1.avi", "clap/v_2.mp4", "wave hands/v_1.AVI"]
BROKEN = "wave hands/broken.mp4"


@pytest.fixture
def asked(few_videos, weights):
    return Extraction(folder=few_videos, rgb=weights / "rgb.pt", frames=16, device="cpu")


def _two_streams(asked, weights):
    return asked.model_copy(update={"flow_weights": weights / "flow.pt", "flow": "farneback"})


@pytest.mark.parametrize(("classes", "other"), [(400, ("Kinetics-400",)), (157, "unknown"), (None, "unknown")])
def test_weights_tell_by_their_logits_layer_that_they_are_of_kinetics(asked, weights, tmp_path, classes, other):
    layer = {} if classes is None else {"logits.conv3d.weight": torch.zeros(classes, 1024, 1, 1, 1)}
    torch.save({**torch.load(weights / "rgb.pt"), **layer}, tmp_path / "rgb.pt")
    assert asked.model_copy(update={"rgb": tmp_path / "rgb.pt"}).trained_on().other == other


def test_both_streams_must_tell_it(asked, weights, tmp_path):
    layer = {"logits.conv3d.weight": torch.zeros(400, 1024, 1, 1, 1)}
    torch.save({**torch.load(weights / "rgb.pt"), **layer}, tmp_path / "rgb.pt")
    both = asked.model_copy(update={"rgb": tmp_path / "rgb.pt", "flow_weights": weights / "flow.pt"})
    assert both.trained_on().other == "unknown"


def test_videos_are_found_by_their_suffix_in_sorted_order(few_videos, tmp_path):
    assert find_videos(few_videos) == sorted([*READABLE, BROKEN])
    with pytest.raises(InputError, match=r"FOLDER .*: no video stands below it; expected files that end in \.avi, "):
        find_videos(tmp_path)
    with pytest.raises(InputError, match=r"FOLDER .*none: no such folder"):
        find_videos(tmp_path / "none")


def test_both_streams_stand_side_by_side_rgb_first(asked, weights, tmp_path):
    pytest.importorskip("cv2")
    reports = []
    found = extract(_two_streams(asked, weights), tmp_path / "out", report=lambda *said: reports.append(said))
    assert found.videos == READABLE
    assert found.unreadable == {BROKEN: "cannot be decoded (Invalid data found when processing input)"}
    assert (tmp_path / "out" / UNREADABLE).read_text() == f"{BROKEN}: {found.unreadable[BROKEN]}\n"
    assert [said[2:] for said in reports] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert {said[0] for said in reports if said[1] is not None} == {BROKEN}
    features = found.features()
    assert features.shape == (3, 8192)
    assert features.dtype == np.float32
    inputs = network_inputs(asked.folder / READABLE[1], 16, True, flow_method("farneback"))
    with torch.inference_mode():
        rgb = pooled(read_i3d(weights / "rgb.pt", 3, "").features(inputs["rgb"]))
        flow = pooled(read_i3d(weights / "flow.pt", 2, "").features(inputs["flow"]))
    np.testing.assert_allclose(features[1], torch.cat([rgb, flow], dim=1)[0], atol=1e-6)
    record = json.loads((tmp_path / "out" / RECORD).read_text())
    assert (record["flow"], record["frames"], record["dimension"]) == ("farneback", 16, 8192)
    assert len(record["weights"]["flow"]["sha256"]) == 64


def test_one_stream_gives_half_the_features(asked, weights, tmp_path):
    pytest.importorskip("cv2")
    assert extract(asked, tmp_path / "rgb").features().shape == (3, 4096)
    flow_alone = _two_streams(asked, weights).model_copy(update={"rgb": None})
    assert extract(flow_alone, tmp_path / "flow").features().shape == (3, 4096)


def test_a_run_that_was_stopped_goes_on_with_the_videos_that_are_left(asked, tmp_path, monkeypatch):
    whole = module.network_inputs
    done = []

    def stopping(path, *rest):
        if len(done) == 1:
            raise KeyboardInterrupt
        done.append(path)
        return whole(path, *rest)

    monkeypatch.setattr(module, "network_inputs", stopping)
    with pytest.raises(KeyboardInterrupt):
        extract(asked, tmp_path / "out")
    first = feature_path(tmp_path / "out", READABLE[0])
    assert first.exists()
    stood = first.stat().st_mtime_ns
    again = []
    monkeypatch.setattr(module, "network_inputs", lambda path, *rest: again.append(path) or whole(path, *rest))
    found = extract(asked, tmp_path / "out")
    assert found.videos == READABLE
    assert first.stat().st_mtime_ns == stood
    assert asked.folder / READABLE[0] not in again
    assert len(again) == 3  # what cannot be read is tried again
    assert not list((tmp_path / "out").rglob(".*.npy.*"))


def test_a_video_that_was_mended_is_no_longer_listed(asked, few_videos, tmp_path):
    shutil.copytree(few_videos, tmp_path / "videos")
    asked = asked.model_copy(update={"folder": tmp_path / "videos"})
    assert set(extract(asked, tmp_path / "out").unreadable) == {BROKEN}
    shutil.copy(few_videos / READABLE[1], tmp_path / "videos" / BROKEN)
    found = extract(asked, tmp_path / "out")
    assert found.unreadable == {}
    assert not (tmp_path / "out" / UNREADABLE).exists()
    assert found.videos[2] == BROKEN
    np.testing.assert_allclose(found.features()[1], found.features()[2], rtol=1e-4, atol=1e-5)


def test_going_on_with_something_else_is_refused(asked, weights, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / RECORD).write_text(json.dumps(check(asked, out)))
    with pytest.raises(InputError, match=r"OUT .*: was begun with frames 16, not 64; go on with the same, or choose"):
        check(asked.model_copy(update={"frames": 64}), out)
    torch.save(torch.load(weights / "rgb.pt", weights_only=True) | {"logits.x": torch.zeros(1)}, tmp_path / "b.pt")
    with pytest.raises(InputError, match=r"was begun with weights rgb: rgb.pt \(\w{12}\), not rgb: b.pt \(\w{12}\);"):
        check(asked.model_copy(update={"rgb": tmp_path / "b.pt"}), out)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.txt").touch()
    with pytest.raises(InputError, match=r"OUT .*other: is no folder of features \(it has no i3d.json\)"):
        check(asked, tmp_path / "other")


def test_features_that_cannot_be_written_are_one_line(asked, tmp_path):
    _put_in_the_way(asked, tmp_path / "out")
    with pytest.raises(InputError, match=r"OUT .*: cannot be written \(File exists\); mend that, and give the same"):
        extract(asked, tmp_path / "out")


def _put_in_the_way(asked, out):
    """A file where a class's folder is to stand."""
    out.mkdir()
    (out / RECORD).write_text(json.dumps(check(asked, out)))
    (out / "clap").touch()


@pytest.mark.slow
def test_with_ray_data_the_features_are_the_same(asked, tmp_path):
    from platform import runtime

    alone = extract(asked, tmp_path / "alone")
    runtime.connect()
    spread = extract(asked, tmp_path / "spread", workers=1)
    assert spread.videos == alone.videos
    assert spread.unreadable == alone.unreadable
    np.testing.assert_allclose(spread.features(), alone.features(), rtol=1e-4, atol=1e-5)
    _put_in_the_way(asked, tmp_path / "out")
    with pytest.raises(InputError, match=r"^OUT .*: cannot be written \(File exists\); mend that"):
        extract(asked, tmp_path / "out", workers=1)
