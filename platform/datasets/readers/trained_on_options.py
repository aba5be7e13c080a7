"""What a user says of the data that an extractor was trained on: --trained-on-classes and --pretrained-on."""

from collections.abc import Callable, Sequence
from pathlib import Path

from platform.datasets.class_spelling import positions
from platform.datasets.contents import ClassSplit
from platform.datasets.readers.text_files import read_text
from platform.datasets.trained_on import Names, TrainedOn
from platform.errors import InputError


def as_said(
    known: TrainedOn,
    classes: str | None,
    pretrained: str | None,
    names: Sequence[str] = (),
    split_of: Callable[[str], ClassSplit] | None = None,
) -> TrainedOn:
    """What is known of an extractor, with what a user says of it in its place.

    names, split_of: of all classes, and a split by name, which the classes that are said must be of.
    Raises InputError where a class or a split is none of this data set.
    """
    if classes is None and pretrained is None:
        return known
    return TrainedOn(
        classes=known.classes if classes is None else _classes(classes, names, split_of),
        other=known.other if pretrained is None else _other(pretrained),
        source="; ".join(filter(None, (known.source if None in (classes, pretrained) else "", "as its user says"))),
    )


def _classes(said: str, names: Sequence[str], split_of: Callable[[str], ClassSplit]) -> Names:
    if said in ("none", "unknown"):
        return said
    if said == "all":
        return tuple(names)
    if said.startswith("seen:"):
        unseen = set(split_of(said.removeprefix("seen:")).unseen)
        return tuple(name for name in names if name not in unseen)
    path = Path(said)
    if path.suffix != ".txt":
        raise InputError(
            f"--trained-on-classes {said}: expected none, all, seen:SPLIT, unknown, or a .txt file of names"
        )
    listed = [line.strip() for line in read_text(path).splitlines() if line.strip()]
    found = positions(listed, names)
    if None in found or not found:
        what = f"`{listed[found.index(None)]}` is no class of this data set" if found else "names no class"
        raise InputError(f"--trained-on-classes {path}: {what}; the classes are {', '.join(names[:4])}, …")
    return tuple(names[i] for i in sorted(set(found)))


def _other(said: str) -> Names:
    several = tuple(name.strip() for name in said.split(",") if name.strip())
    if not several or (len(several) > 1 and {"none", "unknown"} & set(several)):
        raise InputError(f"--pretrained-on {said}: expected none, unknown, or names of data separated by commas")
    return several[0] if several[0] in ("none", "unknown") else several
