"""Videos in class folders, CLASS/VIDEO.mp4, or in one folder with lists: the samples are some of their frames."""

import os
from collections.abc import Collection
from pathlib import Path

import numpy as np

from platform.datasets.class_spelling import published_list_of
from platform.datasets.contents import ClassInfo, Contents
from platform.datasets.readers.class_videos import class_videos, partition_of
from platform.datasets.readers.frames import read_frames
from platform.datasets.readers.odd_files import OddFiles
from platform.datasets.readers.options import ImportOptions
from platform.errors import InputError
from platform.features.videos.decoding import SUFFIXES

_FRAMES, _SIDE = 8, 224


def read(source: Path, options: ImportOptions) -> Contents:
    """One sample a readable video. Raises InputError where none is, a class is not known, or PyAV is missing."""
    if not source.is_dir():
        raise InputError(f"{source}: expected a folder of videos, CLASS/VIDEO{SUFFIXES[0]}")
    names, videos, named_by = class_videos(source, options, SUFFIXES)
    odd, others = OddFiles("videos"), OddFiles("files")
    odd.add("left out, which are not there", *(video.name for video in videos if video.path is None))
    videos = [video for video in videos if video.path is not None]
    paths = [video.path for video in videos]
    if not paths:
        raise InputError(f"{source}: no video of the lists stands below it; {'; '.join(odd.notes())}")
    if videos[0].train is None and options.video_list is None:
        _add_others(source, set(paths), others)
    workers = len(os.sched_getaffinity(0)) if options.workers is None else options.workers
    frames = read_frames(source, paths, options.frames or _FRAMES, options.size or _SIDE, workers, odd, options.report)
    kept = [video for video, is_kept in zip(videos, frames.kept.tolist(), strict=True) if is_kept]
    train, note = partition_of(kept, options.seed)
    return Contents(
        name=source.name,
        modality="video",
        licence="",
        source=f"videos in {source.name}; {note}",
        classes=[ClassInfo(name=name) for name in names],
        labels=np.array([video.label for video in kept]),
        train=train,
        features={"frames": frames.encoded},
        ids=[video.name for video in kept],
        class_list=options.class_list or published_list_of(names),
        notes=[*named_by, *others.notes(), *odd.notes()],
    )


def _add_others(source: Path, taken: Collection[Path], odd: OddFiles) -> None:
    """Say which files of a folder of classes are none of its videos."""
    found = (path for path in sorted(source.rglob("*")) if path not in taken and path.is_file())
    others = [path for path in found if not path.name.startswith(".")]
    for reason, is_video in (("passed over, which are no videos", False), ("left out, which stand elsewhere", True)):
        chosen = (path for path in others if (path.suffix.lower() in SUFFIXES) == is_video)
        odd.add(reason, *(path.relative_to(source).as_posix() for path in chosen))
