"""A feature file a video, as Elaborative Rehearsal keeps them and feature extractors write them.

FEATURES/CLASS/VIDEO.npy, or FEATURES/VIDEO.npy with a list that says the videos' classes (see video_lists.py). Each
file is (D,), or (T, D) of T clips of the video, which are averaged; Elaborative Rehearsal's own are (1, D), of which it
takes the row.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from platform.datasets.class_spelling import published_list_of
from platform.datasets.contents import ClassInfo, Contents, FeatureArray
from platform.datasets.readers.arrays import load_npy
from platform.datasets.readers.class_files import PUBLISHED_ORDER_NOTE, class_names
from platform.datasets.readers.class_folders import class_indices
from platform.datasets.readers.odd_files import OddFiles
from platform.datasets.readers.options import ImportOptions
from platform.datasets.readers.partitions import draw_partition, partition_note
from platform.datasets.readers.video_lists import ListedVideo, read_video_list, refuse_shared, video_name
from platform.errors import InputError


@dataclass(frozen=True)
class _Video:
    """path: of its features, None where there is no such file; train: None where the partition is drawn."""

    name: str
    label: int
    path: Path | None
    train: bool | None


def read(source: Path, options: ImportOptions) -> Contents:
    """One sample a readable file. Raises InputError where none is, or a class is not known."""
    if not source.is_dir():
        raise InputError(f"{source}: expected a folder of .npy files, one a video")
    if options.video_list is None and options.train_list is None and options.test_list is None:
        (names, videos), named_by = _from_folders(source, options), []
    else:
        names, videos, named_by = _from_lists(source, options)
    odd = OddFiles("videos")
    values, kept = _features(source, videos, odd)
    labels = np.array([video.label for video in kept])
    if kept[0].train is None:
        seed = options.seed or 0
        train, note = draw_partition(labels, seed), partition_note(seed)
    else:
        train, note = np.array([video.train for video in kept]), "partitions as the lists have them"
    return Contents(
        name=source.name,
        modality="video",
        licence="",
        source=f"a feature file a video in {source.name}; {note}",
        classes=[ClassInfo(name=name) for name in names],
        labels=labels,
        train=train,
        features={"features": FeatureArray(values, options.extractor or "not stated", "scale")},
        ids=[video.name for video in kept],
        class_list=options.class_list or published_list_of(names),
        notes=[*named_by, *odd.notes()],
    )


def _from_folders(source: Path, options: ImportOptions) -> tuple[list[str], list[_Video]]:
    """Classes are the folders, in the order of their names or of --classes."""
    files = sorted(source.glob("*/*.npy"))
    if not files:
        loose = next(source.glob("*.npy"), None)
        reason = "its files stand in no class folder" if loose else "no CLASS/VIDEO.npy"
        raise InputError(f"{source}: {reason}; say which video is of which class with --video-list")
    folders = sorted({path.parent.name for path in files})
    names = folders if options.classes is None else class_names(options.classes, None)
    index = class_indices(folders, names, source)
    return names, [_Video(f"{p.parent.name}/{video_name(p.name)}", index[p.parent.name], p, None) for p in files]


def _from_lists(source: Path, options: ImportOptions) -> tuple[list[str], list[_Video], list[str]]:
    """Classes are those that the lists name, in the order of their labels where these say it.

    Third, what the card says where labels alone name the classes.
    """
    parts = _read_lists(options)
    listed = [video for videos, _ in parts for video in videos]
    names = _names_of_lists(listed, options)
    folders = sorted({v.class_name for v in listed if v.class_name is not None})
    index = class_indices(folders, names, source)
    files = _Files(source)
    videos = [
        _Video(video.name, _label(video, index, len(names)), files.find(video.name), train)
        for several, train in parts
        for video in several
    ]
    numbered = options.classes is None and any(v.class_name is None for v in listed)
    return names, videos, [PUBLISHED_ORDER_NOTE] if numbered else []


def _read_lists(options: ImportOptions) -> list[tuple[list[ListedVideo], bool | None]]:
    """The lists' videos, and whether they train; None where the partition is drawn."""
    if options.video_list is not None:
        if options.train_list is not None or options.test_list is not None:
            raise InputError("--video-list: its partition is drawn; give it, or --train-list and --test-list")
        return [(read_video_list(options.video_list), None)]
    if options.train_list is None or options.test_list is None:
        raise InputError("--train-list and --test-list go together; one list of all videos is --video-list")
    if options.seed is not None:
        raise InputError("--seed does not apply: --train-list and --test-list are the partition")
    train, test = (read_video_list(path) for path in (options.train_list, options.test_list))
    refuse_shared(train, test, f"{options.train_list}, {options.test_list}")
    return [(train, True), (test, False)]


def _names_of_lists(listed: Sequence[ListedVideo], options: ImportOptions) -> list[str]:
    if options.classes is not None or any(v.class_name is None for v in listed):
        return class_names(options.classes, options.class_list)
    numbered = {(v.class_name, v.label) for v in listed if v.label is not None}
    found = sorted({v.class_name for v in listed if v.class_name is not None})
    numbers = dict(numbered)
    one_each = len(numbered) == len(numbers) == len(set(numbers.values()))
    return sorted(found, key=numbers.__getitem__) if one_each and set(numbers) == set(found) else found


def _label(video: ListedVideo, index: dict[str, int], classes: int) -> int:
    if video.class_name is not None:
        return index[video.class_name]
    if video.label is None:
        raise InputError(f"video `{video.name}`: its list gives neither a class folder nor a label")
    if video.label >= classes:
        raise InputError(f"video `{video.name}`: its label is outside the {classes} classes")
    return video.label


class _Files:
    """The feature files of a folder, found by a video's name with or without its class folder."""

    def __init__(self, source: Path) -> None:
        paths = sorted(source.rglob("*.npy"))
        stems = [video_name(path.name).casefold() for path in paths]
        counts = Counter(stems)
        self._by_path = {video_name(path.relative_to(source).as_posix()).casefold(): path for path in paths}
        self._by_stem = {stem: path for stem, path in zip(stems, paths, strict=True) if counts[stem] == 1}

    def find(self, name: str) -> Path | None:
        name = name.casefold()
        stem = name.rpartition("/")[2]
        return self._by_path.get(name) or self._by_path.get(stem) or self._by_stem.get(stem)


def _features(source: Path, videos: Sequence[_Video], odd: OddFiles) -> tuple[np.ndarray, list[_Video]]:
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


def _rows(videos: Sequence[_Video], odd: OddFiles) -> Iterator[tuple[_Video, np.ndarray]]:
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
