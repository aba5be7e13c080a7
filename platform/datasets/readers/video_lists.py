"""Lists of videos: UCF101's trainlist01.txt and testlist01.txt, or Elaborative Rehearsal's metas, .jsonl."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from platform.datasets.readers.text_files import read_text
from platform.errors import InputError

_VIDEO_SUFFIX = re.compile(r"\.(avi|mp4|mkv|webm|mov|mpg|mpeg|flv|wmv|npy)$", re.IGNORECASE)


@dataclass(frozen=True)
class ListedVideo:
    """name: without its suffix, and with its folder where the list has one; label: from 0, where the list has one."""

    name: str
    class_name: str | None
    label: int | None


def video_name(file: str) -> str:
    """A video or feature file without its suffix, or both where a feature is called `video.avi.npy`."""
    return _VIDEO_SUFFIX.sub("", _VIDEO_SUFFIX.sub("", file))


def read_video_list(path: Path) -> list[ListedVideo]:
    """The videos of a list, each once.

    .txt: `class/video.avi LABEL` a line, where either of class and LABEL may lack and labels count from 1, as in
    UCF101's lists. .jsonl: {"videoname", "label"} a line, where labels count from 0 or are class names. A class folder
    goes before a label number.
    """
    lines = [line.strip() for line in read_text(path).splitlines()]
    parse = _parsed_record if path.suffix == ".jsonl" else _parsed_line
    videos = [parse(f"{path}: line {number}", line) for number, line in enumerate(lines, start=1) if line]
    if not videos:
        raise InputError(f"{path}: names no video")
    seen: set[str] = set()
    for video in videos:
        if video.name in seen:
            raise InputError(f"{path}: `{video.name}` is listed twice")
        seen.add(video.name)
    return videos


def refuse_shared(train: Sequence[ListedVideo], test: Sequence[ListedVideo], where: str) -> None:
    """Raise InputError where a video stands in both lists."""
    if both := {video.name for video in train} & {video.name for video in test}:
        raise InputError(f"{where}: `{min(both)}` stands in the training list and in the test list")


def _parsed_line(where: str, line: str) -> ListedVideo:
    file, *rest = line.rsplit(maxsplit=1)
    if not rest or not rest[0].isdecimal():
        return _video(line, None)
    if rest[0] == "0":
        # zero is what lists that count from 0 begin with; a class folder makes the number needless
        if "/" not in file:
            raise InputError(f"{where}: label 0; labels count from 1, as in UCF101's trainlist01.txt")
        return _video(file, None)
    return _video(file, int(rest[0]) - 1)


def _parsed_record(where: str, line: str) -> ListedVideo:
    try:
        record = json.loads(line)
        file, label = record["videoname"], record.get("label")
    except (json.JSONDecodeError, TypeError, KeyError, AttributeError) as error:
        raise InputError(f"{where}: expected {{videoname, label}} ({error})") from error
    if not isinstance(file, str) or isinstance(label, bool) or not isinstance(label, int | str | None):
        raise InputError(f"{where}: expected text as videoname, and a whole number or a class name as label")
    if isinstance(label, str):
        return ListedVideo(video_name(file), label, None)
    if label is not None and label < 0:
        raise InputError(f"{where}: label {label}; labels count from 0")
    return _video(file, label)


def _video(file: str, label: int | None) -> ListedVideo:
    name = video_name(file)
    folder, _, _ = name.rpartition("/")
    return ListedVideo(name, folder.rpartition("/")[2] or None, label)
