"""A data folder of extracted videos: classes from folder names, a partition drawn or listed, features `i3d`."""

import re
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from platform.datasets.contents import ClassInfo, Contents, FeatureArray
from platform.datasets.folder import Dataset, write_dataset
from platform.datasets.readers.partitions import draw_partition, partition_note
from platform.datasets.readers.text_files import read_text
from platform.datasets.trained_on import UNKNOWN, TrainedOn
from platform.errors import InputError
from platform.features.videos.extraction import Extracted

FEATURE_SET = "i3d"
_LABEL = re.compile(r"\s+\d+$")


def check_folders(videos: Sequence[str]) -> None:
    """Raise InputError unless each video (a relative path) stands in a class's folder, and there are two of these."""
    for video in videos:
        if "/" not in video:
            raise InputError(f"--data-folder: `{video}` stands in no class's folder; expected FOLDER/CLASS/VIDEO")
    if len({_class_of(video) for video in videos}) < 2:
        raise InputError(f"--data-folder: all videos are of class `{_class_of(videos[0])}`; at least two are needed")


def read_training_list(path: Path, videos: Collection[str]) -> frozenset[str]:
    """The training videos of a text file: one relative path a line, perhaps with a label after it.

    So are UCF101's trainlist01.txt and its like ("ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi 1"). videos: all that
    there are. Raises InputError where the file names another one, or none.
    """
    listed = []
    for number, line in enumerate(read_text(path).splitlines(), 1):
        name = line.strip()
        if not name:
            continue
        video = name if name in videos else _LABEL.sub("", name)
        if video not in videos:
            raise InputError(
                f"--partition {path}: line {number}: `{video}` is no video below FOLDER; expected CLASS/VIDEO"
            )
        listed.append(video)
    if not listed:
        raise InputError(f"--partition {path}: lists no video; expected one relative path a line")
    return frozenset(listed)


def write_videos(
    extracted: Extracted,
    folder: Path,
    name: str,
    training: Collection[str] | None = None,
    seed: int = 0,
    trained_on: TrainedOn = UNKNOWN,
) -> Dataset:
    """Write the features as a data folder; videos that could not be read are left out and counted in its notes.

    training: the training videos; None for a partition drawn with `seed`. trained_on: of the networks. Raises
    InputError where `folder` exists, or no video could be read.
    """
    if not extracted.videos:
        raise InputError(f"--data-folder {folder}: no video could be read; {extracted.out} lists why")
    of_video = [_class_of(video) for video in extracted.videos]
    classes = sorted(set(of_video))
    labels = np.array([classes.index(c) for c in of_video])
    if training is None:
        train, notes = draw_partition(labels, seed), [partition_note(seed)]
    else:
        train, notes = np.array([video in training for video in extracted.videos]), []
    contents = Contents(
        name=name,
        modality="video",
        licence="of the videos",
        source=f"videos of {name}, features extracted here",
        classes=[ClassInfo(name=c) for c in classes],
        labels=labels,
        train=train,
        features={
            FEATURE_SET: FeatureArray(extracted.features(), _described(extracted), "scale", trained_on=trained_on)
        },
        ids=list(extracted.videos),
        notes=[*notes, *_left_out(extracted, classes)],
    )
    return write_dataset(contents, folder)


def _class_of(video: str) -> str:
    return PurePosixPath(video).parts[0]


def _described(extracted: Extracted) -> str:
    record = extracted.record
    weights = "; ".join(f"{s} weights {w['file']} ({w['sha256'][:12]})" for s, w in record["weights"].items())
    flow = f", flow {record['flow']}" if record["flow"] != "none" else ""
    return f"{record['network']}; {weights}; {record['frames']} centre frames at {record['rate']} a second{flow}"


def _left_out(extracted: Extracted, classes: Collection[str]) -> list[str]:
    counts = Counter(_class_of(video) for video in extracted.unreadable)
    notes = [f"{counts.total():,} videos that cannot be read left out"] if counts else []
    return notes + [f"class {c} left out: none of its videos can be read" for c in sorted(set(counts) - set(classes))]
