"""A feature file a video, as Elaborative Rehearsal keeps them and feature extractors write them.

FEATURES/CLASS/VIDEO.npy, or FEATURES/VIDEO.npy with a list that says the videos' classes (see video_lists.py). Each
file is (D,), or (T, D) of T clips of the video, which are averaged; Elaborative Rehearsal's own are (1, D), of which it
takes the row.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from platform.datasets.class_spelling import published_list_of
from platform.datasets.contents import ClassInfo, Contents, FeatureArray
from platform.datasets.readers.arrays import load_npy
from platform.datasets.readers.class_videos import ClassVideo, class_videos, partition_of
from platform.datasets.readers.odd_files import OddFiles
from platform.datasets.readers.options import ImportOptions
from platform.errors import InputError


def read(source: Path, options: ImportOptions) -> Contents:
    """One sample a readable file. Raises InputError where none is, or a class is not known."""
    if not source.is_dir():
        raise InputError(f"{source}: expected a folder of .npy files, one a video")
    names, videos, named_by = class_videos(source, options, (".npy",))
    odd = OddFiles("videos")
    values, kept = _features(source, videos, odd)
    train, note = partition_of(kept, options.seed)
    return Contents(
        name=source.name,
        modality="video",
        licence="",
        source=f"a feature file a video in {source.name}; {note}",
        classes=[ClassInfo(name=name) for name in names],
        labels=np.array([video.label for video in kept]),
        train=train,
        features={"features": FeatureArray(values, options.extractor or "not stated", "scale")},
        ids=[video.name for video in kept],
        class_list=options.class_list or published_list_of(names),
        notes=[*named_by, *odd.notes()],
    )


def _features(source: Path, videos: Sequence[ClassVideo], odd: OddFiles) -> tuple[np.ndarray, list[ClassVideo]]:
    """(N, D) float32 and the videos that gave a row, which are written once, where they stay."""
    values, kept = None, []
    for video, row in _rows(videos, odd):
        if values is None:
            values = np.empty((len(videos), len(row)), np.float32)
        elif len(row) != values.shape[1]:
            raise InputError(
                f"{video.path}: {len(row)} features, {kept[0].path} has {values.shape[1]}; one extractor is expected"
            )
        values[len(kept)] = row
        kept.append(video)
    if values is None:
        raise InputError(f"{source}: no readable features; {'; '.join(odd.notes())}")
    return values[: len(kept)], kept


def _rows(videos: Sequence[ClassVideo], odd: OddFiles) -> Iterator[tuple[ClassVideo, np.ndarray]]:
    for video in videos:
        if video.path is None:
            odd.add("left out, without a feature file", video.name)
            continue
        try:
            array = load_npy(video.path)
        except InputError:
            odd.add("left out, whose file cannot be read as plain numbers", video.name)
            continue
        if array.dtype.kind not in "fiu" or array.ndim not in (1, 2) or not array.size:
            odd.add("left out, whose file is not (D,) or (T, D) numbers", video.name)
            continue
        clips = np.atleast_2d(array.astype(np.float32))
        row = clips.mean(axis=0)
        if not np.isfinite(row).all():
            odd.add("left out, whose features hold NaN or infinity", video.name)
            continue
        if len(clips) > 1:
            odd.add("of several clips, whose features are their mean", video.name)
        yield video, row
