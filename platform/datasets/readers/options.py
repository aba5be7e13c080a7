"""What a user can say about the files that a reader is given."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Literal

Attributes = Literal["att", "original_att"]
Locations = Literal["use", "ignore"]
Report = Callable[[int, int], None]  # done, of all
Modality = Literal["skeleton", "image", "video"]


@dataclass(frozen=True)
class ImportOptions:
    """Everything is optional; None or empty means "not given", so that an option a layout has no use for is refused.

    text and descriptions: name to file. The registry in `readers` says which options belong to which layout.
    """

    name: str | None = None
    licence: str | None = None
    source: str | None = None
    text: Mapping[str, Path] = field(default_factory=dict)
    descriptions: Mapping[str, Path] = field(default_factory=dict)
    parts_of_speech: Path | None = None
    label_splits: Path | None = None
    class_list: str | None = None
    classes: Path | None = None
    features: Path | None = None
    validation: Path | None = None
    extractor: str | None = None
    trained_on_classes: str | None = None
    pretrained_on: str | None = None
    modality: Modality | None = None
    attributes: Attributes | None = None
    locations: Locations | None = None
    seed: int | None = None
    partition: str | None = None
    video_list: Path | None = None
    train_list: Path | None = None
    test_list: Path | None = None
    images: Path | None = None
    size: int | None = None
    workers: int | None = None
    report: Report | None = None  # what is told how many of the pictures are done; not for the user to give

    def given(self) -> list[str]:
        """The names of the options that were given."""
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "report"}
        return [name for name, value in values.items() if value is not None and value != {}]


def flag(option: str) -> str:
    """An option as it is written on the command line: `--class-list` for `class_list`."""
    return "--" + option.replace("_", "-")
