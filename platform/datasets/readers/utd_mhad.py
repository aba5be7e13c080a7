"""UTD-MHAD: 27 actions by 8 subjects, as raw Kinect v1 skeletons, as ready Shift-GCN features, or as both.

The features stand in `utd_shiftgcn.npz`: `f` (N, 256), `l` (N, 60) logits over NTU-60's classes, `y` actions from 1 and
`s` subjects. Odd subjects train, as the makers' own experiments have it.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from platform.datasets.contents import ClassInfo, Contents, FeatureArray, Skeletons
from platform.datasets.poses import POSE_EXTRACTOR, pose_descriptors
from platform.datasets.readers.arrays import as_labels, as_matrix, load_npz
from platform.datasets.readers.class_files import class_names
from platform.datasets.readers.options import ImportOptions
from platform.datasets.readers.utd_clips import ACTIONS, SUBJECTS, Clip, read_clips
from platform.datasets.trained_on import NOT_TRAINED, TrainedOn
from platform.errors import InputError

_ARCHIVE, _FOLDER, _FEATURES = "Skeleton.zip", "Skeleton", "utd_shiftgcn.npz"
_EXTRACTOR = "Shift-GCN joint stream, NTU-60 cross-subject; 20 joints mapped to 25, clips looped to 128 frames"

_NTU = TrainedOn(classes="none", other=("ntu60",), source="how utd_shiftgcn.npz was made")


def read(source: Path, options: ImportOptions) -> Contents:
    """`source`: the archive, its folder, the features, or a folder that holds several of them."""
    clips_path, features_path = _find(source)
    if features_path is None:
        return _with_clips(_contents(*_labels_of(clips := read_clips(clips_path))), clips)
    ready = _read_features(features_path)
    if clips_path is None:
        return ready
    return _with_clips(ready, _in_row_order(read_clips(clips_path), ready, features_path))


def _find(source: Path) -> tuple[Path | None, Path | None]:
    """The skeletons and the features in `source`; None for what is not there."""
    if source.suffix == ".npz":
        return None, source
    if source.is_file() or any(source.glob("*_skeleton.mat")):
        return source, None
    clips = next((p for p in (source / _ARCHIVE, source / _FOLDER) if p.exists()), None)
    features = source / _FEATURES if (source / _FEATURES).exists() else None
    if clips is None and features is None:
        raise InputError(f"{source}: neither {_ARCHIVE}, nor the .mat files it holds, nor {_FEATURES}")
    return clips, features


def _contents(labels: np.ndarray, subjects: np.ndarray) -> Contents:
    return Contents(
        name="utd_mhad",
        modality="skeleton",
        licence="free for research with citation",
        source="UTD-MHAD (Chen, Jafari and Kehtarnavaz, ICIP 2015); odd subjects are the training partition",
        classes=[ClassInfo(name=n) for n in class_names(None, "utd_mhad")],
        labels=labels,
        train=subjects % 2 == 1,
        features={},
        groups=subjects,
        class_list="utd_mhad",
    )


def _labels_of(clips: Sequence[Clip]) -> tuple[np.ndarray, np.ndarray]:
    """(N,) class indices from 0, (N,) subjects."""
    return np.array([c.action - 1 for c in clips]), np.array([c.subject for c in clips])


def _with_clips(contents: Contents, clips: Sequence[Clip]) -> Contents:
    """`contents` with the raw skeletons of its rows and pose descriptors beside its feature sets."""
    values = pose_descriptors((c.joints for c in clips), "kinect_v1")
    pose = FeatureArray(values, POSE_EXTRACTOR, "standard", trained_on=NOT_TRAINED)
    return replace(
        contents,
        ids=[c.id for c in clips],
        skeletons=Skeletons([c.joints[:, None] for c in clips], layout="kinect_v1"),
        features={**contents.features, "pose": pose},
    )


def _read_features(path: Path) -> Contents:
    arrays = load_npz(path, ("f", "l", "y", "s"))
    features = as_matrix(f"{path}: `f`", arrays["f"])
    logits = as_matrix(f"{path}: `l`", arrays["l"], rows=len(features))
    labels = as_labels(f"{path}: `y`", arrays["y"], len(features), ACTIONS, first=1)
    subjects = as_labels(f"{path}: `s`", arrays["s"], len(features), SUBJECTS, first=1) + 1
    return replace(
        _contents(labels, subjects),
        features={
            "shiftgcn": FeatureArray(features, _EXTRACTOR, trained_on=_NTU),
            # Logits over another data set's classes describe a sample; they are no scores of this data set's classes.
            "ntu60_logits": FeatureArray(
                logits, f"{_EXTRACTOR}; its logits over the 60 classes of NTU-60", trained_on=_NTU
            ),
        },
    )


def _in_row_order(clips: Sequence[Clip], ready: Contents, features_path: Path) -> list[Clip]:
    """The clips in the order of the feature rows, which carry only action and subject."""
    orders = (
        list(clips),
        sorted(clips, key=lambda c: c.id),
        sorted(clips, key=lambda c: (c.action, c.subject, c.trial)),
    )
    for order in orders:
        labels, subjects = _labels_of(order)
        if np.array_equal(labels, ready.labels) and np.array_equal(subjects, ready.groups):
            return order
    raise InputError(
        f"{features_path}: its rows (actions `y`, subjects `s`) follow neither the archive's order nor the order of "
        "the clips' names or numbers, so features and skeletons cannot be matched; import one of them by its own path"
    )
