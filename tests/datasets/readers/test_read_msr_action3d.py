import numpy as np
import pytest
from clip_files import body, msr_text, write_msr

from platform.datasets.poses import pose_descriptor
from platform.datasets.readers import ImportOptions, read
from platform.datasets.simulator.body import AXES, CHAINS, bone_offsets, joint_positions
from platform.errors import InputError

NAMES = ["a01_s01_e01", "a20_s02_e03", "a08_s10_e02"]
# right and left shoulder, shoulder centre, spine, right and left hip, hip centre, right and left elbow, wrist, hand,
# knee, ankle, foot, and the head, in the order of Kinect v2
MSR_IN_V2 = [8, 4, 20, 1, 16, 12, 0, 9, 5, 10, 6, 11, 7, 17, 13, 18, 14, 19, 15, 3]


def read_msr(source):
    contents = read("msr_action3d", source, ImportOptions())
    contents.check()
    return contents


@pytest.mark.parametrize("packed", [False, True])
def test_clips_are_read_with_what_their_names_say(tmp_path, packed):
    contents = read_msr(write_msr(tmp_path / "msr", {n: body(3, 20) for n in NAMES}, packed))
    rows = {i: (label, subject, train) for i, label, subject, train in zip(
        contents.ids, contents.labels.tolist(), contents.groups.tolist(), contents.train.tolist(), strict=True
    )}  # fmt: skip
    assert rows == {NAMES[0]: (0, 1, True), NAMES[1]: (19, 2, False), NAMES[2]: (7, 10, False)}
    assert contents.classes[7].name == "draw tick"
    assert contents.class_list == "msr_action3d"


@pytest.mark.parametrize("chain", ["left arm", "right leg"])
def test_joints_are_put_into_the_order_of_the_project(tmp_path, chain):
    angles = np.zeros((20, len(CHAINS), len(AXES)))
    angles[:, CHAINS.index(chain), 0] = 1.5 * np.sin(np.linspace(0, np.pi, 20))
    clip = joint_positions(angles, bone_offsets(1.7))  # Kinect v2
    contents = read_msr(write_msr(tmp_path / "msr", {NAMES[0]: clip[:, MSR_IN_V2]}))
    expected = pose_descriptor(clip, "kinect_v2", rate=15)
    np.testing.assert_allclose(contents.features["pose"].values[0], expected, rtol=1e-3, atol=1e-3)


def test_one_frame_and_empty_clips_are_counted(tmp_path):
    clips = {NAMES[0]: body(1, 20), "a13_s09_e02": np.zeros((3, 20, 3)), "a13_s09_e03": ""}
    contents = read_msr(write_msr(tmp_path / "msr", clips))
    assert contents.notes == ["2 clips left out: no body in any frame", "1 clip of a single frame"]


TEXT = msr_text(body(2, 20))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (TEXT[: TEXT.rindex("\n", 0, -1) + 1], "truncated: 39 lines are no whole number of frames of 20 joints"),
        (TEXT[:-2], "line 40: 3 numbers; a joint is `x y z confidence`"),
        ("1 2 3\n" * 20, "line 1: 3 numbers"),
        (TEXT.replace("e", "x", 1), "holds something that is no number"),
        ("\x00\xff", "line 1: 1 numbers"),
    ],
)
def test_a_damaged_file_is_one_line(tmp_path, text, message):
    with pytest.raises(InputError, match=f"`a01_s01_e01_skeleton3D.txt`: {message}") as caught:
        read_msr(write_msr(tmp_path / "msr", {NAMES[0]: text}))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["a21_s01_e01", "a01_s11_e01", "a01_e01"])
def test_names_that_are_none_are_refused(tmp_path, name):
    with pytest.raises(InputError, match=f"`{name}_skeleton3D.txt` is no clip of MSR-Action3D"):
        read_msr(write_msr(tmp_path / "msr", {name: body(2, 20)}))


def test_a_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "a01_s01_e01_skeleton.txt").write_text("screen coordinates")
    with pytest.raises(InputError, match=r"no file like a01_s01_e01_skeleton3D\.txt"):
        read_msr(tmp_path)
