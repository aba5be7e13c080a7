"""The skeleton pickles of pyskl and mmaction2: one dictionary of `split` and `annotations`.

split: name to a list of clip names; training and test parts are called as in `xsub_train` and `xsub_val`, `train1` and
`test1`, or `train` and `val`. annotations: a dictionary a clip with `frame_dir` (its name), `label`, and `keypoint`
(bodies, T, joints, axes); skeletons in the image have `keypoint_score` (bodies, T, joints) too.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from platform.datasets.contents import Contents, JointLayout
from platform.datasets.readers.class_files import class_names
from platform.datasets.readers.clips import LISTED, UNPARTED, RawClip, contents_of_clips
from platform.datasets.readers.ntu_names import missing_skeletons, ntu_name
from platform.datasets.readers.options import ImportOptions
from platform.datasets.readers.plain_pickle import load_plain_pickle
from platform.errors import InputError

# joints and axes of a keypoint array to their layout
_LAYOUTS: dict[tuple[int, int], JointLayout] = {(25, 3): "kinect_v2", (17, 2): "coco_17"}
_TRAINING = re.compile(r"(?:(?P<prefix>.+)_)?train(?P<number>\d*)")
_TESTS = ("val", "test")
_ONLY = "official"


def read(source: Path, options: ImportOptions) -> Contents:
    """All clips of one partition, the file's first unless the options name another."""
    annotations, split = _content(source, load_plain_pickle(source))
    partition, training, testing = _partition(source, split, options.partition)
    class_list = options.class_list
    if class_list is None and options.classes is None and all(ntu_name(a["frame_dir"]) for a in annotations):
        class_list = "ntu120" if "xset_train" in split else "ntu60"
    names = class_names(options.classes, class_list)
    layout = _layout(source, annotations[0])
    left_out: Counter[str] = Counter()
    return contents_of_clips(
        _clips(source, annotations, training, testing, layout, len(names), left_out),
        name=source.stem,
        layout=layout,
        classes=names,
        class_list=class_list,
        licence="",
        source=f"skeletons of {source.name}, in the layout of pyskl; partition {partition}",
        left_out=left_out,
    )


def _content(source: Path, content: Any) -> tuple[list[dict[str, Any]], dict[str, list[str]]]:
    if not isinstance(content, dict) or not {"split", "annotations"} <= set(content):
        have = ", ".join(map(str, content)) if isinstance(content, dict) else f"a {type(content).__name__}"
        raise InputError(f"{source}: holds {have}; expected a dictionary of `split` and `annotations`")
    annotations, split = content["annotations"], content["split"]
    if not isinstance(annotations, list) or not annotations:
        raise InputError(f"{source}: `annotations` is no list of clips, or empty")
    for index, annotation in enumerate(annotations):
        keys = annotation if isinstance(annotation, dict) else ()
        if missing := [k for k in ("frame_dir", "label", "keypoint") if k not in keys]:
            raise InputError(f"{source}: `annotations`: clip {index} has no `{missing[0]}`")
        if not isinstance(annotation["frame_dir"], str):
            raise InputError(f"{source}: `annotations`: clip {index}: its `frame_dir` is no text")
    if not isinstance(split, dict) or not all(_is_list_of_text(part) for part in split.values()):
        raise InputError(f"{source}: `split` is no dictionary of lists of clip names")
    return annotations, split


def _is_list_of_text(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _partition(
    source: Path, split: Mapping[str, Sequence[str]], asked: str | None
) -> tuple[str, frozenset[str], frozenset[str]]:
    """The name of a partition, and the clips of its training and its test part."""
    found = {}
    for name in split:
        if match := _TRAINING.fullmatch(name):
            test = next((t for t in (name.replace("train", test) for test in _TESTS) if t in split), None)
            if test is not None:
                found["".join(filter(None, match.group("prefix", "number"))) or _ONLY] = (name, test)
    if not found:
        raise InputError(f"{source}: `split` holds {', '.join(split) or 'nothing'}; expected xsub_train and xsub_val")
    if asked is not None and asked not in found:
        raise InputError(f"--partition {asked}: {source.name} has {', '.join(found)}")
    partition = asked or next(iter(found))
    training, testing = (frozenset(split[part]) for part in found[partition])
    if both := training & testing:
        raise InputError(f"{source}: clip `{min(both)}` is in both parts of the partition {partition}")
    return partition, training, testing


def _layout(source: Path, annotation: Mapping[str, Any]) -> JointLayout:
    """The layout of the first clip, which is that of all."""
    shape = np.shape(annotation["keypoint"])
    if len(shape) != 4 or shape[2:] not in _LAYOUTS:
        known = ", ".join(f"{joints} joints by {axes} axes" for joints, axes in _LAYOUTS)
        raise InputError(
            f"{source}: clip `{annotation['frame_dir']}`: keypoint is {shape}; (bodies, frames, joints, axes) with "
            f"{known} are read"
        )
    return _LAYOUTS[shape[2:]]


def _clips(
    source: Path,
    annotations: Sequence[Mapping[str, Any]],
    training: frozenset[str],
    testing: frozenset[str],
    layout: JointLayout,
    classes: int,
    left_out: Counter[str],
) -> Iterator[RawClip]:
    for annotation in annotations:
        name = annotation["frame_dir"]
        numbers = ntu_name(name)
        if name not in training and name not in testing:
            left_out[UNPARTED] += 1
        elif numbers is not None and layout == "kinect_v2" and name in missing_skeletons():
            left_out[LISTED] += 1
        else:
            label = annotation["label"]
            if type(label) is not int or not 0 <= label < classes:
                raise InputError(f"{source}: clip `{name}`: label {label!r} is outside the {classes} classes, from 0")
            joints = _joints(f"{source}: clip `{name}`", annotation, layout)
            yield RawClip(name, label, numbers.performer if numbers else -1, name in training, joints)


def _joints(where: str, annotation: Mapping[str, Any], layout: JointLayout) -> np.ndarray:
    """(T, bodies, joints, axes)."""
    keypoint = np.asarray(annotation["keypoint"])
    if keypoint.dtype.kind not in "fiu" or keypoint.ndim != 4 or _LAYOUTS.get(keypoint.shape[2:]) != layout:
        raise InputError(f"{where}: keypoint is {keypoint.dtype} {keypoint.shape}; the file's first clip is {layout}")
    frames = annotation.get("total_frames", keypoint.shape[1])
    if frames != keypoint.shape[1]:
        raise InputError(f"{where}: keypoint has {keypoint.shape[1]} frames, `total_frames` is {frames}")
    if layout == "coco_17":
        score = np.asarray(annotation.get("keypoint_score"))
        if score.dtype.kind not in "fiu" or score.shape != keypoint.shape[:3]:
            raise InputError(f"{where}: keypoint_score is {score.shape}; expected {keypoint.shape[:3]}")
        keypoint = np.concatenate([keypoint, score[..., None]], axis=3, dtype=np.float32, casting="unsafe")
    return keypoint.transpose(1, 0, 2, 3)
