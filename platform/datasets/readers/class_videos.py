"""A file a video, CLASS/VIDEO, or lists that say which video is of which class (see video_lists.py)."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from platform.datasets.readers.class_files import PUBLISHED_ORDER_NOTE, class_names
from platform.datasets.readers.class_folders import class_indices
from platform.datasets.readers.options import ImportOptions
from platform.datasets.readers.partitions import draw_partition, partition_note
from platform.datasets.readers.video_lists import ListedVideo, read_video_list, refuse_shared, video_name
from platform.errors import InputError


@dataclass(frozen=True)
class ClassVideo:
    """path: of its file, None where there is no such file; train: None where the partition is drawn."""

    name: str
    label: int
    path: Path | None
    train: bool | None


def class_videos(
    source: Path, options: ImportOptions, suffixes: Sequence[str]
) -> tuple[list[str], list[ClassVideo], list[str]]:
    """The class names, the videos, and what the card says where labels alone name the classes.

    suffixes: of the videos' files, in lower case. Raises InputError where there is no video, or a class is not known.
    """
    if options.video_list is None and options.train_list is None and options.test_list is None:
        return *_from_folders(source, options, suffixes), []
    return _from_lists(source, options, suffixes)


def partition_of(videos: Sequence[ClassVideo], seed: int | None) -> tuple[np.ndarray, str]:
    """(N,) bool, which videos train, as their lists say it or drawn by the seed, and a note that says which."""
    if videos[0].train is not None:
        return np.array([video.train for video in videos]), "partitions as the lists have them"
    return draw_partition(np.array([video.label for video in videos]), seed or 0), partition_note(seed or 0)


def _from_folders(source: Path, options: ImportOptions, suffixes: Sequence[str]) -> tuple[list[str], list[ClassVideo]]:
    """Classes are the folders, in the order of their names or of --classes."""
    files = _of_suffix(source.glob("*/*"), suffixes)
    if not files:
        loose = _of_suffix(source.glob("*"), suffixes)
        reason = "its files stand in no class folder" if loose else f"no CLASS/VIDEO{suffixes[0]}"
        others = f" (or {', '.join(suffixes[1:])})" if suffixes[1:] and not loose else ""
        raise InputError(f"{source}: {reason}{others}; say which video is of which class with --video-list")
    folders = sorted({path.parent.name for path in files})
    names = folders if options.classes is None else class_names(options.classes, None)
    index = class_indices(folders, names, source)
    found: dict[str, ClassVideo] = {}
    for path in files:
        name = f"{path.parent.name}/{video_name(path.name)}"
        if name in found:
            both = f"`{found[name].path.name}` and `{path.name}`"
            raise InputError(f"{source}: {path.parent.name}: {both} differ in their suffix alone; keep one of them")
        found[name] = ClassVideo(name, index[path.parent.name], path, None)
    return names, list(found.values())


def _from_lists(
    source: Path, options: ImportOptions, suffixes: Sequence[str]
) -> tuple[list[str], list[ClassVideo], list[str]]:
    """Classes are those that the lists name, in the order of their labels where these say it."""
    parts = _read_lists(options)
    listed = [video for videos, _ in parts for video in videos]
    names = _names_of_lists(listed, options)
    folders = sorted({v.class_name for v in listed if v.class_name is not None})
    index = class_indices(folders, names, source)
    files = _Files(source, suffixes)
    videos = [
        ClassVideo(video.name, _label(video, index, len(names)), files.find(video.name), train)
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
    """The files of a folder, found by a video's name with or without its class folder."""

    def __init__(self, source: Path, suffixes: Sequence[str]) -> None:
        paths = _of_suffix(source.rglob("*"), suffixes)
        stems = [video_name(path.name).casefold() for path in paths]
        counts = Counter(stems)
        self._by_path = {video_name(path.relative_to(source).as_posix()).casefold(): path for path in paths}
        self._by_stem = {stem: path for stem, path in zip(stems, paths, strict=True) if counts[stem] == 1}

    def find(self, name: str) -> Path | None:
        name = name.casefold()
        stem = name.rpartition("/")[2]
        return self._by_path.get(name) or self._by_path.get(stem) or self._by_stem.get(stem)


def _of_suffix(paths: Iterable[Path], suffixes: Sequence[str]) -> list[Path]:
    """Files with such a suffix, sorted; hidden ones, as a Mac leaves them, are passed over."""
    found = (path for path in paths if path.suffix.lower() in suffixes and not path.name.startswith("."))
    return sorted(path for path in found if path.is_file())
