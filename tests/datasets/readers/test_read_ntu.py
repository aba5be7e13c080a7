import numpy as np
import pytest
from clip_files import body, skeleton_text, write_members, write_ntu

from platform.datasets.poses import pose_descriptor
from platform.datasets.readers import ImportOptions, ntu, read
from platform.datasets.readers.ntu_names import missing_skeletons, ntu_name, trains
from platform.errors import InputError

FIRST, SECOND = "S001C001P001R001A001", "S017C003P003R002A060"  # performer 1 trains in both data sets, 3 in neither


def read_ntu(source, **options):
    contents = read("ntu", source, ImportOptions(**options))
    contents.check()
    return contents


@pytest.mark.parametrize("packed", [False, True])
def test_clips_are_read_with_what_their_names_say(tmp_path, packed):
    clips = {FIRST: body(5), SECOND: body(3, seed=1)}
    contents = read_ntu(write_ntu(tmp_path / "ntu", clips, packed))
    assert (contents.ids, contents.labels.tolist(), contents.groups.tolist()) == ([FIRST, SECOND], [0, 59], [1, 3])
    assert contents.train.tolist() == [True, False]
    assert (contents.class_list, contents.skeletons.layout, len(contents.classes)) == ("ntu60", "kinect_v2", 60)
    for clip, joints in zip(contents.skeletons.clips, clips.values(), strict=True):
        np.testing.assert_allclose(clip[:, 0], joints, rtol=1e-6)
    np.testing.assert_allclose(
        contents.features["pose"].values[1], pose_descriptor(clips[SECOND], "kinect_v2"), rtol=1e-4, atol=1e-4
    )
    assert contents.classes[0].verb == "drink"
    assert contents.notes == ["56,576 of the 56,578 clips of ntu60 are not here"]


@pytest.mark.parametrize(
    ("name", "class_list", "partition", "expected"),
    [
        ("S001C001P038R001A001", "ntu60", "xsub", True),
        ("S001C001P003R001A001", "ntu60", "xsub", False),
        ("S001C001P045R001A001", "ntu60", "xsub", False),
        ("S018C001P045R001A061", "ntu120", "xsub", True),
        ("S018C001P106R001A061", "ntu120", "xsub", False),
        ("S001C001P003R001A001", "ntu60", "xview", False),
        ("S001C003P003R001A001", "ntu60", "xview", True),
        ("S002C001P003R001A001", "ntu120", "xset", True),
        ("S031C001P003R001A001", "ntu120", "xset", False),
    ],
)
def test_the_makers_partitions(name, class_list, partition, expected):
    assert trains(ntu_name(name), partition, class_list) is expected


def test_partitions_and_class_lists_that_there_are(tmp_path):
    folder = write_ntu(tmp_path / "ntu", {FIRST: body(), SECOND: body()})
    assert read_ntu(folder, partition="xview").train.tolist() == [False, True]
    assert read_ntu(folder, class_list="ntu120", partition="xset").train.tolist() == [False, False]
    for options, message in (
        ({"partition": "xset"}, "--partition xset: ntu60 has xsub and xview"),
        ({"class_list": "pku51"}, "--class-list pku51: NTU RGB\\+D has ntu60 or ntu120"),
        ({"seed": 1}, "--seed does not apply to layout ntu"),
    ):
        with pytest.raises(InputError, match=message):
            read_ntu(folder, **options)


def test_ntu_120_is_recognised_and_its_own_clips_may_be_left_out(tmp_path):
    folder = write_ntu(tmp_path / "ntu", {FIRST: body(), "S018C001P008R001A061": body()})
    assert (read_ntu(folder).class_list, read_ntu(folder).labels.tolist()) == ("ntu120", [0, 60])
    contents = read_ntu(folder, class_list="ntu60")
    assert contents.ids == [FIRST]
    assert contents.notes[0] == "1 clip left out: of classes or setups outside the class list"


def test_the_makers_list_of_missing_skeletons_is_left_out_and_counted(tmp_path):
    missing = missing_skeletons()
    assert len(missing) == 535
    assert sum(ntu_name(name).within("ntu60") for name in missing) == 302
    assert {"S001C002P005R002A008", "S004C002P020R001A036", "S032C003P067R002A077"} <= missing
    contents = read_ntu(write_ntu(tmp_path / "ntu", {FIRST: body(), "S001C002P005R002A008": "0"}))
    assert contents.ids == [FIRST]
    assert contents.notes[0] == "1 clip left out: their makers list them as having no or incomplete skeletons"


def test_what_is_odd_about_clips_is_counted(tmp_path):
    still, mover, third = body(6, seed=1, motion=0.1), body(6, seed=2, motion=3), body(6, seed=3, motion=2)
    clips = {
        "S001C001P001R001A050": skeleton_text([("7", 0, still), ("8", 0, mover)], 6),
        "S001C001P001R001A051": skeleton_text([("7", 0, still), ("8", 0, mover), ("9", 0, third)], 6),
        "S001C001P001R001A001": skeleton_text([("7", 2, still)], 9),
        "S001C001P001R001A002": skeleton_text([("7", 0, still[:1])], 1),
        "S001C001P001R001A003": skeleton_text([], 4),
        "S001C001P001R001A004": skeleton_text([("7", 0, np.zeros((3, 25, 3)))], 3),
        "S001C001P001R001A005": "0\n",
        "S001C001P001R001A006": skeleton_text([("7", 0, np.where(np.arange(6)[:, None, None] == 2, np.nan, still))], 6),
    }
    contents = read_ntu(write_ntu(tmp_path / "ntu", clips))
    assert contents.notes[:-1] == [
        "3 clips left out: no body in any frame",
        "1 clip with two bodies",
        "1 clip with more than two bodies, of which the two that move most are kept",
        "1 clip of a single frame",
        "2 clips with frames without a body, which are zeros there",
        "1 clip with NaN or infinity, where the body is taken for missing",
    ]
    by_name = dict(zip(contents.ids, contents.skeletons.clips, strict=True))
    assert [by_name[name].shape[:2] for name in list(clips)[:4]] == [(6, 2), (6, 2), (9, 1), (1, 1)]
    np.testing.assert_allclose(by_name["S001C001P001R001A050"], np.stack([mover, still], axis=1), rtol=1e-6)
    np.testing.assert_allclose(by_name["S001C001P001R001A051"], np.stack([mover, third], axis=1), rtol=1e-6)
    present = by_name["S001C001P001R001A001"].any(axis=(1, 2, 3))
    assert present.tolist() == [False] * 2 + [True] * 6 + [False]
    assert contents.features["pose"].extractor.endswith("of the body that moves most")


def test_a_body_that_the_sensor_lost_goes_on_in_its_place(tmp_path):
    left, right = body(8, seed=1), body(8, seed=1) + np.float32([3, 0, 0])
    tracks = [
        ("72057594037944738", 0, left[:3]),
        ("72057594037944739", 0, right[:4]),
        ("72057594037944740", 5, right[5:]),
        ("72057594037944741", 5, left[5:]),
    ]
    (clip,) = read_ntu(write_ntu(tmp_path / "ntu", {FIRST: skeleton_text(tracks, 8)})).skeletons.clips
    expected = np.stack([left, right], axis=1)
    expected[3:5, 0] = expected[4:5, 1] = 0
    order = [0, 1] if np.allclose(clip[0, 0], left[0], rtol=1e-5) else [1, 0]
    np.testing.assert_allclose(clip[:, order], expected, rtol=1e-5)


def test_an_id_that_a_frame_has_twice_is_two_bodies(tmp_path):
    tracks = [("0", 0, body(3, seed=1)), ("0", 0, body(3, seed=2))]
    (clip,) = read_ntu(write_ntu(tmp_path / "ntu", {FIRST: skeleton_text(tracks, 3)})).skeletons.clips
    assert clip.shape == (3, 2, 25, 3)


LINES = skeleton_text([("7", 0, body(2))], 2).split("\r\n")


def changed(at, line):
    return "\n".join([*LINES[:at], *([] if line is None else [line]), *LINES[at + 1 :]])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "truncated: it ends where the number of frames should stand"),
        ("\n".join(LINES[:20]), "truncated: it ends where joint 17 of 25 should stand"),
        ("\n".join(LINES[:29]), "truncated: it ends where the number of bodies of frame 2 of 2 should stand"),
        (changed(0, "3"), "truncated: it ends where the number of bodies of frame 3 of 3"),
        (changed(0, "1"), "goes on after its last frame, at line 30"),
        (changed(0, "two"), "line 1 is `two`; expected the number of frames"),
        (changed(3, "20"), "line 4: 20 joints; NTU RGB\\+D has 25"),
        (changed(5, "1 2 3"), "line 6: 3 numbers; a joint has 12"),
        (changed(5, LINES[5].replace(LINES[5].split()[0], "x")), "lines up to 29: a joint is no number"),
        (changed(5, None), "line 29: 1 numbers; a joint has 12"),
    ],
)
def test_a_damaged_file_is_one_line(tmp_path, text, message):
    with pytest.raises(InputError, match=rf"`nturgb\+d_skeletons/{FIRST}\.skeleton`: {message}") as caught:
        read_ntu(write_ntu(tmp_path / "ntu", {FIRST: text}))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["S001C001P001R001", "S001C001P001R001A121", "S033C001P001R001A001", "clip"])
def test_names_that_are_none_are_refused(tmp_path, name):
    with pytest.raises(InputError, match=rf"{name}\.skeleton` is no sample of NTU RGB\+D 120; a name is like S001C001"):
        read_ntu(write_ntu(tmp_path / "ntu", {FIRST: body(), name: body()}))


def test_a_folder_without_clips_or_with_one_twice_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"no file like S001C001P001R001A001\.skeleton"):
        read_ntu(write_members(tmp_path / "empty", {"readme.txt": "x"}, packed=False))
    folder = write_ntu(tmp_path / "ntu", {FIRST: body()})
    write_members(folder, {f"again/{FIRST}.skeleton": "0"}, packed=False)
    with pytest.raises(InputError, match="are the same clip; keep one of them"):
        read_ntu(folder)
    with pytest.raises(InputError, match=r"ntu60: no clip with a body is left to import \(1 clip left out: no body"):
        read_ntu(write_ntu(tmp_path / "nobody", {FIRST: "0\n"}))


def test_a_packed_clip_that_is_damaged_is_named(tmp_path):
    path = write_ntu(tmp_path / "ntu", {FIRST: body()}, packed=True)
    damaged = bytearray(path.read_bytes())
    damaged[200] ^= 0xFF
    path.write_bytes(bytes(damaged))
    with pytest.raises(InputError, match=rf"{FIRST}\.skeleton` is corrupt"):
        read_ntu(path)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(InputError, match="truncated, or no zip archive"):
        read_ntu(path)


def test_clips_are_read_one_by_one(tmp_path, monkeypatch):
    """A wrong option or name is told before the long reading begins."""
    folder = write_ntu(tmp_path / "ntu", {FIRST: body()})
    monkeypatch.setattr(ntu, "parse_skeleton", lambda *_: pytest.fail("a clip was read"))
    with pytest.raises(InputError, match="--partition xset"):
        read_ntu(folder, partition="xset")
