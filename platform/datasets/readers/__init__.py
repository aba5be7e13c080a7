"""One reader for each layout in which data are published, and what they share: text, class splits and the card."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from platform.datasets.contents import Contents
from platform.datasets.readers import npz, synse, utd_mhad, xian
from platform.datasets.readers.class_files import descriptions, text_features
from platform.datasets.readers.label_splits import read_label_splits
from platform.datasets.readers.options import ImportOptions, flag
from platform.datasets.splits import published_splits
from platform.errors import InputError

__all__ = ["LAYOUTS", "ImportOptions", "Layout", "read"]

_SHARED_OPTIONS = ("name", "licence", "source", "text", "descriptions", "label_splits")


@dataclass(frozen=True)
class Layout:
    """A reader, what it reads in a few words, and the options that it takes besides the shared ones."""

    read: Callable[[Path, ImportOptions], Contents]
    summary: str
    options: tuple[str, ...] = ()


LAYOUTS = {
    "synse": Layout(
        synse.read,
        "folder with train.npy, ztest.npy, gtest.npy and their labels (SynSE, SA-DVAE, MSF)",
        ("class_list", "classes", "validation", "extractor"),
    ),
    "xian": Layout(
        xian.read,
        "folder with att_splits.mat and res101.mat, or another features file (Xian et al.'s Proposed Splits)",
        ("features", "attributes", "locations", "seed", "extractor", "modality"),
    ),
    "npz": Layout(
        npz.read,
        "one .npz file: x_train, y_train, x_test, y_test; or features, labels",
        ("class_list", "classes", "seed", "extractor", "modality"),
    ),
    "utd_mhad": Layout(utd_mhad.read, "Skeleton.zip, utd_shiftgcn.npz, or the folder of both (UTD-MHAD)"),
}


def read(layout: str, source: Path, options: ImportOptions) -> Contents:
    """What stands in `source`, ready to be written. Raises InputError for a wrong option or file."""
    if layout not in LAYOUTS:
        raise InputError(f"unknown layout `{layout}`; choose one of {', '.join(LAYOUTS)}")
    if not source.exists():
        raise InputError(f"{source}: no such file or folder")
    allowed = (*_SHARED_OPTIONS, *LAYOUTS[layout].options)
    for option in options.given():
        if option not in allowed:
            takes = ", ".join(flag(o) for o in allowed)
            raise InputError(f"{flag(option)} does not apply to layout {layout}, which takes {takes}")
    contents = LAYOUTS[layout].read(source, options)
    names = [c.name for c in contents.classes]
    published_splits(contents.class_list, names)  # raises where the class list is not this data set's
    splits = read_label_splits(options.label_splits, names, contents.class_list) if options.label_splits else {}
    contents = replace(
        contents,
        name=options.name or contents.name,
        splits={**contents.splits, **splits},
        validation=contents.validation and _described(contents.validation, options),
    )
    return _described(contents, options)


def _described(contents: Contents, options: ImportOptions) -> Contents:
    """`contents` with the user's words on its card and the class text of the user's files."""
    names = [c.name for c in contents.classes]
    texts = {name: descriptions(path, names) for name, path in options.descriptions.items()}
    classes = [
        c.model_copy(update={"descriptions": {**c.descriptions, **{name: [t[i]] for name, t in texts.items()}}})
        for i, c in enumerate(contents.classes)
    ]
    return replace(
        contents,
        classes=classes,
        licence=options.licence or contents.licence or "not stated",
        source=f"{options.source}; {contents.source}" if options.source else contents.source,
        embeddings={**contents.embeddings, **text_features(options.text, len(names))},
    )
