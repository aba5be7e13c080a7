import numpy as np
import pytest
from clip_files import body, write_members, write_ucla

from platform.datasets.poses import pose_descriptor
from platform.datasets.readers import ImportOptions, read
from platform.datasets.simulator.body import AXES, CHAINS, bone_offsets, joint_positions
from platform.datasets.trained_on import NOT_TRAINED
from platform.errors import InputError

NAMES = ["a01_s01_e00_v01", "a08_s02_e01_v02", "a12_s10_e03_v03"]
# the order of the Kinect SDK, which NW-UCLA has, in that of Kinect v2
SDK_IN_V2 = [0, 1, 20, 3, *range(4, 20)]


def read_ucla(source):
    contents = read("nw_ucla", source, ImportOptions())
    contents.check()
    return contents


@pytest.mark.parametrize("packed", [False, True])
def test_clips_are_read_with_what_their_names_say(tmp_path, packed):
    contents = read_ucla(write_ucla(tmp_path / "all_sqe", {n: body(3, 20) for n in NAMES}, packed))
    assert (contents.ids, contents.labels.tolist()) == (NAMES, [0, 6, 9])
    assert (contents.groups.tolist(), contents.train.tolist()) == ([1, 2, 10], [True, True, False])
    assert [contents.classes[i].name for i in contents.labels] == ["pick up with one hand", "donning", "carry"]
    assert contents.class_list == "nw_ucla"
    assert contents.features["pose"].trained_on == NOT_TRAINED


def test_joints_are_put_into_the_order_of_the_project(tmp_path):
    angles = np.zeros((20, len(CHAINS), len(AXES)))
    angles[:, CHAINS.index("left arm"), 0] = 1.5 * np.sin(np.linspace(0, np.pi, 20))
    clip = joint_positions(angles, bone_offsets(1.7))  # Kinect v2
    contents = read_ucla(write_ucla(tmp_path / "ucla", {NAMES[0]: clip[:, SDK_IN_V2]}))
    expected = pose_descriptor(clip, "kinect_v2")
    np.testing.assert_allclose(contents.features["pose"].values[0], expected, rtol=1e-3, atol=1e-3)


def test_one_frame_and_empty_clips_are_counted(tmp_path):
    clips = {NAMES[0]: body(1, 20), NAMES[1]: np.zeros((3, 20, 3)), NAMES[2]: np.zeros((0, 20, 3))}
    contents = read_ucla(write_ucla(tmp_path / "ucla", clips))
    assert contents.notes == ["2 clips left out: no body in any frame", "1 clip of a single frame"]


@pytest.mark.parametrize("name", ["a07_s01_e00_v01", "a01_s01_e00_v04", "a01_s01_e00", "labels"])
def test_names_that_are_none_are_refused(tmp_path, name):
    members = {f"{name}.json": "{}"}
    with pytest.raises(
        InputError, match=rf"`{name}\.json` is no clip of NW-UCLA; .*actions 1, 2, 3, 4, 5, 6, 8, 9, 11"
    ):
        read_ucla(write_members(tmp_path / "ucla", members, packed=False))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"label": 7}, "label 7; by its name they are `a01_s01_e00_v01` and 1"),
        ({"file_name": "a02_s01_e00_v01"}, "says file_name 'a02_s01_e00_v01'"),
        ({"skeletons": np.ones((4, 25, 3)).tolist()}, r"`skeletons` is \(4, 25, 3\); expected \(frames, 20, 3\)"),
        ({"skeletons": [[1, 2], [3]]}, "`skeletons` are no numbers"),
        ({"skeletons": "x"}, "`skeletons` are no numbers"),
    ],
)
def test_a_clip_that_contradicts_its_name_or_its_format_is_refused(tmp_path, changes, message):
    with pytest.raises(InputError, match=message) as caught:
        read_ucla(write_ucla(tmp_path / "ucla", {NAMES[0]: body(3, 20)}, **changes))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [('{"file_name": "a01', "truncated, or no JSON"), ("[]", "no `file_name`"), ('{"file_name": "x"}', "no `label`")],
)
def test_a_damaged_file_is_one_line(tmp_path, text, message):
    with pytest.raises(InputError, match=rf"`{NAMES[0]}\.json`: {message}"):
        read_ucla(write_members(tmp_path / "ucla", {f"{NAMES[0]}.json": text}, packed=False))


def test_a_folder_of_something_else_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"no file like a01_s01_e00_v01\.json"):
        read_ucla(tmp_path)
