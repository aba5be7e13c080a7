import os
import pickle

import numpy as np
import pytest
from clip_files import annotation, body, write_pyskl

from platform.datasets.readers import ImportOptions, read
from platform.errors import InputError

TRAIN, TEST, OUT = "S001C001P001R001A001", "S001C003P003R001A060", "S001C002P001R001A003"
SPLIT = {"xsub_train": [TRAIN], "xsub_val": [TEST], "xview_train": [TEST], "xview_val": [TRAIN]}


def clips():
    return [
        annotation(TRAIN, 0, body(5)[:, None]),
        annotation(TEST, 59, np.stack([body(3, seed=1, motion=0.1), body(3, seed=2, motion=2)], axis=1)),
        annotation(OUT, 2, body(2)[:, None]),
    ]


def read_pyskl(path, **options):
    contents = read("pyskl", path, ImportOptions(**options))
    contents.check()
    return contents


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_skeletons_of_ntu(tmp_path, protocol):
    contents = read_pyskl(write_pyskl(tmp_path / "ntu60_3danno.pkl", clips(), SPLIT, protocol))
    assert (contents.ids, contents.labels.tolist(), contents.groups.tolist()) == ([TRAIN, TEST], [0, 59], [1, 3])
    assert contents.train.tolist() == [True, False]
    assert (contents.name, contents.class_list, contents.skeletons.layout) == ("ntu60_3danno", "ntu60", "kinect_v2")
    np.testing.assert_array_equal(contents.skeletons.clips[0][:, 0], body(5))
    np.testing.assert_array_equal(contents.skeletons.clips[1][:, 0], body(3, seed=2, motion=2))
    assert contents.features["pose"].values.shape == (2, 465)
    assert contents.notes == ["1 clip left out: in neither partition", "1 clip with two bodies"]


def test_a_partition_is_chosen_by_name(tmp_path):
    path = write_pyskl(tmp_path / "ntu60.pkl", clips(), SPLIT)
    assert read_pyskl(path, partition="xview").train.tolist() == [False, True]
    with pytest.raises(InputError, match=r"--partition xset: ntu60\.pkl has xsub, xview"):
        read_pyskl(path, partition="xset")
    both = {**SPLIT, "xsub_val": [TEST, TRAIN]}
    with pytest.raises(InputError, match=f"clip `{TRAIN}` is in both parts of the partition xsub"):
        read_pyskl(write_pyskl(tmp_path / "both.pkl", clips(), both))


@pytest.mark.parametrize(
    ("split", "partition"),
    [
        ({"train1": ["v1"], "test1": ["v2"], "train2": ["v2"], "test2": ["v1"]}, "1"),
        ({"train": ["v1"], "val": ["v2"], "test": []}, "official"),
    ],
)
def test_skeletons_in_the_image_have_scores_and_no_pose_descriptor(tmp_path, split, partition):
    (tmp_path / "names.txt").write_text("apply eye makeup\narchery\n")
    annotations = []
    for label, name in enumerate(("v1", "v2")):
        keypoint = body(4, joints=17)[:, None, :, :2].astype(np.float16)
        score = np.full((1, 4, 17), 0.5, np.float16)
        annotations.append(annotation(name, np.int64(label), keypoint, keypoint_score=score, img_shape=(240, 320)))
    contents = read_pyskl(write_pyskl(tmp_path / "ucf.pkl", annotations, split), classes=tmp_path / "names.txt")
    assert (contents.skeletons.layout, dict(contents.features), contents.groups) == ("coco_17", {}, None)
    assert contents.skeletons.clips[0].shape == (4, 1, 17, 3)
    assert (contents.skeletons.clips[0][..., 2] == 0.5).all()
    assert contents.train.tolist() == [True, False]
    assert contents.source.endswith(f"partition {partition}")


def test_class_names_are_asked_for_where_clips_are_not_named_as_ntus(tmp_path):
    path = write_pyskl(tmp_path / "own.pkl", [annotation("v1", 0, body()[:, None])], {"train": ["v1"], "val": []})
    with pytest.raises(InputError, match="these files hold no class names"):
        read_pyskl(path)


def changed(**values):
    first, *others = clips()
    return [{key: value for key, value in {**first, **values}.items() if value is not None}, *others]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1], "holds a list; expected a dictionary of `split` and `annotations`"),
        ({"annotations": clips()}, "holds annotations; expected"),
        ({"split": SPLIT, "annotations": []}, "`annotations` is no list of clips, or empty"),
        ({"split": SPLIT, "annotations": [3]}, "clip 0 has no `frame_dir`"),
        ({"split": SPLIT, "annotations": changed(keypoint=None)}, "clip 0 has no `keypoint`"),
        ({"split": SPLIT, "annotations": changed(frame_dir=3)}, "clip 0: its `frame_dir` is no text"),
        ({"split": [TRAIN], "annotations": clips()}, "`split` is no dictionary of lists"),
        ({"split": {"all": [TRAIN]}, "annotations": clips()}, "`split` holds all; expected xsub_train and xsub_val"),
        ({"split": SPLIT, "annotations": changed(label=60)}, f"clip `{TRAIN}`: label 60 is outside the 60 classes"),
        ({"split": SPLIT, "annotations": changed(label=[1])}, r"label \[1\] is outside"),
        ({"split": SPLIT, "annotations": changed(total_frames=9)}, "keypoint has 5 frames, `total_frames` is 9"),
        ({"split": SPLIT, "annotations": changed(keypoint="x")}, r"keypoint is \(\); \(bodies, frames, joints, axes\)"),
        (
            {"split": SPLIT, "annotations": changed(keypoint=np.ones((1, 5, 18, 2)))},
            r"keypoint is \(1, 5, 18, 2\); .* with 25 joints by 3 axes, 17 joints by 2 axes are read",
        ),
        (
            {"split": SPLIT, "annotations": [*clips()[:1], annotation(TEST, 1, np.ones((3, 1, 17, 2)))]},
            f"clip `{TEST}`: keypoint is float64 .* first clip is kinect_v2",
        ),
        (
            {"split": SPLIT, "annotations": [annotation(TRAIN, 1, np.ones((3, 1, 17, 2)))]},
            r"keypoint_score is \(\); expected \(1, 3, 17\)",
        ),
    ],
)
def test_a_file_of_another_shape_is_refused(tmp_path, content, message):
    path = tmp_path / "clips.pkl"
    path.write_bytes(pickle.dumps(content))
    with pytest.raises(InputError, match=message) as caught:
        read_pyskl(path)
    assert "\n" not in str(caught.value)


def test_a_pickle_that_would_run_something_is_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'trace'}",)

    path = write_pyskl(tmp_path / "evil.pkl", [*clips(), Evil()], SPLIT)
    with pytest.raises(InputError, match=r"evil\.pkl: refused: the pickle holds `(posix|nt)\.system`"):
        read_pyskl(path)
    assert not (tmp_path / "trace").exists()
