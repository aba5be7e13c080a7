"""What a user can say about the files that a reader is given."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Literal

import typer

from platform.errors import InputError
from platform.groups import Read
from platform.options import PretrainedOn, TrainedOnClasses

Attributes = Literal["att", "original_att"]
Locations = Literal["use", "ignore"]
Report = Callable[[int, int], None]  # done, of all
Modality = Literal["skeleton", "image", "video"]


def _named_files(option: str, values: Sequence[str]) -> dict[str, Path]:
    """`NAME=FILE` or `FILE`, whose stem is then the name."""
    files = {}
    for value in values:
        name, separator, file = value.rpartition("=")
        name = name if separator else Path(file).stem
        if not name or "/" in name:
            raise InputError(f"{option} {value}: expected NAME=FILE, where NAME holds no slash")
        if name in files:
            raise InputError(f"{option} {value}: `{name}` is given twice; name one of them as in NAME=FILE")
        files[name] = Path(file)
    return files


_NAMED_FILES = Read(list[str], _named_files, [])


@dataclass(frozen=True)
class ImportOptions:
    """Everything is optional; None or empty means "not given", so that an option a layout has no use for is refused.

    text and descriptions: name to file. The registry in `readers` says which options belong to which layout.
    """

    name: Annotated[str | None, typer.Option(help="What to call the data set.")] = None
    licence: Annotated[str | None, typer.Option(help="Under what terms it may be used.")] = None
    source: Annotated[str | None, typer.Option(help="Where it came from, for the card.")] = None
    text: Annotated[
        Mapping[str, Path],
        typer.Option(metavar="[NAME=]FILE", help="Class text features, .npy (classes, T); repeatable."),
        _NAMED_FILES,
    ] = field(default_factory=dict)
    descriptions: Annotated[
        Mapping[str, Path],
        typer.Option(metavar="[NAME=]FILE", help="Texts of the classes: .txt, .csv, .json, .xlsx#SHEET; repeatable."),
        _NAMED_FILES,
    ] = field(default_factory=dict)
    parts_of_speech: Annotated[Path | None, typer.Option(help="Verb and noun of each class, .csv.")] = None
    label_splits: Annotated[Path | None, typer.Option(help="Folder of ru5.npy, rs55.npy, rv5_0.npy.")] = None
    class_list: Annotated[str | None, typer.Option(help="Published class order, as ntu60.")] = None
    classes: Annotated[Path | None, typer.Option(help="Class names in label order: .txt or .csv.")] = None
    features: Annotated[Path | None, typer.Option(help="xian, i3d: the features, where not res101.mat or i3d.mat.")] = (
        None
    )
    validation: Annotated[Path | None, typer.Option(help="synse: the validation folder, where not found.")] = None
    extractor: Annotated[str | None, typer.Option(help="What the features came from, for the card.")] = None
    trained_on_classes: TrainedOnClasses = None
    pretrained_on: PretrainedOn = None
    modality: Annotated[
        Modality | None, typer.Option(metavar="<skeleton|image|video>", help="What the samples are.")
    ] = None
    attributes: Annotated[
        Attributes | None, typer.Option(metavar="<att|original_att>", help="xian: which class attributes (att).")
    ] = None
    locations: Annotated[
        Locations | None, typer.Option(metavar="<use|ignore>", help="xian: trust the sample positions (use).")
    ] = None
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of a drawn partition (0).")] = None
    partition: Annotated[
        str | None, typer.Option(help="ntu, pyskl, i3d: which of the official ones, as xsub, xview, xset or split_1.")
    ] = None
    video_list: Annotated[
        Path | None,
        typer.Option(help="per_video, videos: the videos and their classes, .txt, .jsonl; a partition is drawn."),
    ] = None
    train_list: Annotated[
        Path | None, typer.Option(help="per_video, videos: training videos, as trainlist01.txt; images: a path a line.")
    ] = None
    test_list: Annotated[
        Path | None, typer.Option(help="per_video, videos: test videos, as testlist01.txt; images: a path a line.")
    ] = None
    images: Annotated[Path | None, typer.Option(help="xian: folder or .zip of the pictures, to keep them too.")] = None
    frames: Annotated[
        int | None, typer.Option(min=1, help="videos: frames of each, evenly spaced over the whole video (8).")
    ] = None
    size: Annotated[
        int | None,
        typer.Option(min=1, help="images, xian: edge of the square pictures (256); videos: of frames (224)."),
    ] = None
    exact: Annotated[
        bool | None, typer.Option("--exact", help="images, xian: keep pictures as PNG, without loss; else as JPEG.")
    ] = None
    workers: Annotated[
        int | None,
        typer.Option(min=0, help="images, xian: processes that decode (0); videos: (as many as CPUs); 0 for this one."),
    ] = None
    report: Report | None = None  # progress callback; not a user's option

    def given(self) -> list[str]:
        """The names of the options that were given."""
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "report"}
        return [name for name, value in values.items() if value is not None and value != {}]


def flag(option: str) -> str:
    """An option as it is written on the command line: `--class-list` for `class_list`."""
    return "--" + option.replace("_", "-")
