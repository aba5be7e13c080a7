import signal

import numpy as np
import pytest
from made_videos import moving, write_video
from verbs import PATIENCE, ended, events, invoked, started, wait_for

from platform.datasets.folder import Dataset
from platform.features.videos import extraction

pytest.importorskip("av")
pytest.importorskip("cv2")


def _invoked(*arguments):
    return invoked("features.verb", "videos", *arguments)


def test_videos_become_features_and_a_data_folder(few_videos, weights, tmp_path):
    (tmp_path / "list.txt").write_text("clap/v_1.avi 1\nwave hands/v_1.AVI 2\n")
    code, output, errors = _invoked(
        few_videos, tmp_path / "out", "--rgb", weights / "rgb.pt", "--flow-weights", weights / "flow.pt",
        "--flow", "farneback", "--frames", 16, "--workers", 0, "--data-folder", tmp_path / "data",
        "--partition", tmp_path / "list.txt", "--pretrained-on", "Kinetics-400",
    )  # fmt: skip
    assert (code, errors) == (0, "")
    chosen = f"--dataset {tmp_path / 'data'} --split random:UNSEEN:SEED --features i3d"
    assert output.strip().splitlines() == [
        f"{tmp_path / 'out'}: 8192 features (rgb and flow) of 3 videos",
        "left out: wave hands/broken.mp4: cannot be decoded (Invalid data found when processing input)",
        f"Next: python -m platform.train METHOD {chosen}",
    ]
    dataset = Dataset(tmp_path / "data")
    assert dataset.features("i3d").shape == (3, 8192)
    assert dataset.train.tolist() == [True, False, True]
    assert dataset.card.name == "few"
    trained_on = dataset.card.features["i3d"].trained_on
    assert (trained_on.classes, trained_on.other) == ("none", ("Kinetics-400",))


def test_as_json_every_line_is_an_event(few_videos, weights, tmp_path):
    arguments = (few_videos, tmp_path / "out", "--rgb", weights / "rgb.pt", "--frames", 16, "--workers", 0, "--json")
    code, output, _ = _invoked(*arguments)
    assert code == 0
    assert [(said["videos"], said["of"]) for said in events(output, "video")] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    (unreadable,) = events(output, "unreadable")
    assert unreadable["video"] == "wave hands/broken.mp4"
    (written,) = events(output, "written")
    assert {name: written[name] for name in ("features", "videos", "unreadable", "data_folder")} == {
        "features": 4096,
        "videos": 3,
        "unreadable": 1,
        "data_folder": None,
    }
    assert len(events(_invoked(*arguments)[1], "video")) == 1  # the rest stands there already


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give --rgb WEIGHTS, --flow-weights WEIGHTS, or both"),
        (["--rgb", "no.pt"], "--rgb "),
        (["--rgb", "FLOW"], "--rgb FLOW: `Conv3d_1a_7x7.conv3d.weight` is (64, 2, 7, 7, 7), expected (64, 3, 7, 7, 7)"),
        (["--rgb", "RGB", "--flow", "tvl1"], "--flow tvl1: needs --flow-weights WEIGHTS"),
        (["--flow-weights", "FLOW", "--flow", "none"], "--flow none: --flow-weights needs a flow"),
        (["--flow-weights", "FLOW", "--flow", "raft"], "--flow raft: expected tvl1, farneback or none"),
        (["--rgb", "RGB", "--device", "tpu"], "device `tpu`"),
        (["--rgb", "RGB", "--partition", "list.txt"], "--partition list.txt: goes with --data-folder DIR"),
        (["--rgb", "RGB", "--pretrained-on", "ntu60"], "--pretrained-on ntu60: is for the card of --data-folder DIR"),
        (["--rgb", "RGB", "--data-folder", "WEIGHTS"], "--data-folder WEIGHTS: exists already"),
        (["--rgb", "RGB", "--data-folder", "d", "--partition", "list.txt"], "list.txt: cannot be read"),
    ],
)
def test_what_is_wrong_is_one_line_before_anything_is_written(few_videos, weights, tmp_path, arguments, message):
    names = {"RGB": weights / "rgb.pt", "FLOW": weights / "flow.pt", "WEIGHTS": weights}
    for name, path in names.items():
        message = message.replace(f" {name}:", f" {path}:")
    code, output, errors = _invoked(few_videos, tmp_path / "out", *(names.get(a, a) for a in arguments))
    assert (code, output) == (2, "")
    assert errors.startswith("error: " + message)
    assert errors.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_ctrl_c_says_to_give_the_same_command_again(few_videos, weights, tmp_path, monkeypatch):
    def stopped(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(extraction, "network_inputs", stopped)
    code, _, errors = _invoked(few_videos, tmp_path / "out", "--rgb", weights / "rgb.pt", "--workers", 0)
    assert code == 130
    assert errors.startswith("stopped; go on with: the same command, python -m platform.features videos ")
    assert f"--rgb {weights / 'rgb.pt'}" in errors


@pytest.mark.slow
def test_a_process_that_is_stopped_goes_on_when_the_command_is_given_again(weights, tmp_path):
    for videos in (6, 60):  # a test that has to wait for the CPU may come too late to stop a few
        for number in range(videos):
            write_video(tmp_path / "videos" / f"class {number % 2}" / f"{number}.avi", moving(20))
        out = tmp_path / f"{videos} features"
        arguments = ("videos", tmp_path / "videos", out, "--rgb", weights / "rgb.pt", "--workers", 0)
        process = started("features", *arguments)
        wait_for(lambda: list(out.rglob("*.npy")), process)  # noqa: B023 (called here)
        process.send_signal(signal.SIGINT)
        if process.wait(PATIENCE):
            break
    ended(process, code=130)
    stood = {path: path.stat().st_mtime_ns for path in out.rglob("[!.]*.npy")}
    ended(started("features", *arguments))
    assert len(list(out.rglob("[!.]*.npy"))) == videos
    assert {path: path.stat().st_mtime_ns for path in stood} == stood
    assert all(np.isfinite(np.load(path)).all() for path in stood)
