"""One reader for each layout in which data are published, and what they share: text, class splits and the card."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from platform.datasets.contents import ClassInfo, ClassSplit, Contents
from platform.datasets.parts_of_speech import published_parts
from platform.datasets.readers import (
    i3d,
    images,
    msr_action3d,
    npz,
    ntu,
    nw_ucla,
    penn_action,
    per_video,
    pyskl,
    synse,
    utd_mhad,
    videos,
    xian,
)
from platform.datasets.readers.class_files import description_sets, parts_of_speech, text_features
from platform.datasets.readers.class_order import follows_list_order, in_published_order
from platform.datasets.readers.label_splits import read_label_splits
from platform.datasets.readers.options import ImportOptions, flag
from platform.datasets.readers.trained_on_options import as_said
from platform.datasets.splits import drawn_split, is_drawn, published_splits
from platform.datasets.text import OWN_TEXTS
from platform.datasets.trained_on import TrainedOn
from platform.errors import InputError

__all__ = ["LAYOUTS", "ImportOptions", "Layout", "read"]

_EXTRACTOR = ("extractor", "trained_on_classes", "pretrained_on")
_SHARED_OPTIONS = ("name", "licence", "source", "text", "descriptions", "parts_of_speech", "label_splits")


@dataclass(frozen=True)
class Layout:
    """A reader, a short description, and the options that it takes besides the shared ones."""

    read: Callable[[Path, ImportOptions], Contents]
    summary: str
    options: tuple[str, ...] = ()


LAYOUTS = {
    "synse": Layout(
        synse.read,
        "folder with train.npy, ztest.npy, gtest.npy and their labels (SynSE, SA-DVAE, MSF)",
        ("class_list", "classes", "validation", *_EXTRACTOR),
    ),
    "xian": Layout(
        xian.read,
        "folder with att_splits.mat and res101.mat, or another features file (Xian et al.'s Proposed Splits)",
        ("features", "attributes", "locations", "seed", *_EXTRACTOR, "modality", "images", "size", "exact", "workers"),
    ),
    "npz": Layout(
        npz.read,
        "one .npz file: x_train, y_train, x_test, y_test; or features, labels",
        ("class_list", "classes", "seed", *_EXTRACTOR, "modality"),
    ),
    "ntu": Layout(
        ntu.read,
        "folder or .zip of .skeleton files (NTU RGB+D 60 and 120)",
        ("class_list", "classes", "partition"),
    ),
    "pyskl": Layout(
        pyskl.read,
        "one .pkl of `split` and `annotations` (pyskl, mmaction2), read without running what is in it",
        ("class_list", "classes", "partition"),
    ),
    "nw_ucla": Layout(nw_ucla.read, "folder or .zip of aAA_sSS_eEE_vVV.json (NW-UCLA)"),
    "msr_action3d": Layout(msr_action3d.read, "folder or .zip of aAA_sSS_eEE_skeleton3D.txt (MSR-Action3D)"),
    "penn_action": Layout(penn_action.read, "folder or .zip of the labels, 0001.mat (Penn Action)"),
    "utd_mhad": Layout(utd_mhad.read, "Skeleton.zip, utd_shiftgcn.npz, or the folder of both (UTD-MHAD)"),
    "i3d": Layout(
        i3d.read,
        "folder with i3d.mat and split_1/att_splits.mat, split_2/… (gzsl-od, tf-vaegan)",
        ("class_list", "classes", "features", "partition", "seed", *_EXTRACTOR),
    ),
    "per_video": Layout(
        per_video.read,
        "folder of CLASS/VIDEO.npy, or of VIDEO.npy with lists (Elaborative Rehearsal, feature extractors)",
        ("class_list", "classes", "video_list", "train_list", "test_list", "seed", *_EXTRACTOR),
    ),
    "images": Layout(
        images.read,
        "folder or .zip of CLASS/FILE.jpg (.png, .bmp, .webp), for methods that learn from pictures",
        ("classes", "size", "exact", "workers", "train_list", "test_list", "seed"),
    ),
    "videos": Layout(
        videos.read,
        "folder of CLASS/VIDEO.mp4 (.avi, .mkv, …), or of VIDEO.mp4 with lists, for methods that learn from frames",
        ("class_list", "classes", "frames", "size", "workers", "video_list", "train_list", "test_list", "seed"),
    ),
}


def read(layout: str, source: Path, options: ImportOptions) -> Contents:
    """The contents of `source`, ready to be written. Raises InputError for a wrong option or file."""
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
    # both raise where the class list is not this data set's
    ordered = follows_list_order(names, contents.class_list)
    published_splits(contents.class_list, names)
    numbered = contents.class_list if ordered else None
    splits = read_label_splits(options.label_splits, names, numbered) if options.label_splits else {}
    contents = replace(
        contents,
        name=options.name or contents.name,
        splits={**contents.splits, **splits},
        validation=contents.validation and _described(contents.validation, contents.class_list, options),
    )
    # last, because the user's files without names follow the labels of the imported files
    return _with_extractor(in_published_order(_described(contents, contents.class_list, options)), options)


def _with_extractor(contents: Contents, options: ImportOptions) -> Contents:
    """`contents` with the user's facts on its features' extractor; pictures and frames have none."""
    names = [c.name for c in contents.classes]
    splits = {**published_splits(contents.class_list, names), **contents.splits}

    def split_of(name: str) -> ClassSplit:
        if is_drawn(name):
            return drawn_split(name, names)
        if name not in splits:
            raise InputError(f"--trained-on-classes seen:{name}: no such split; there is {', '.join(splits) or 'none'}")
        return splits[name]

    def said(known: TrainedOn) -> TrainedOn:
        return as_said(known, options.trained_on_classes, options.pretrained_on, names, split_of)

    return replace(
        contents,
        features={
            name: f if f.kind != "numbers" else replace(f, trained_on=said(f.trained_on))
            for name, f in contents.features.items()
        },
        logits_trained_on=contents.logits_trained_on if contents.logits is None else said(contents.logits_trained_on),
        # classes that are said are those of the data set's own extractor, not of the one for validation
        validation=contents.validation
        and _with_extractor(contents.validation, replace(options, trained_on_classes=None)),
    )


def _described(contents: Contents, class_list: str | None, options: ImportOptions) -> Contents:
    """`contents` with the user's facts on its card, and the class facts of its class list and of the user's files."""
    names = [c.name for c in contents.classes]
    return replace(
        contents,
        classes=_with_texts(_with_parts(contents.classes, class_list, options), names, class_list, options),
        licence=options.licence or contents.licence or "not stated",
        source=f"{options.source}; {contents.source}" if options.source else contents.source,
        embeddings={**contents.embeddings, **text_features(options.text, len(names))},
    )


def _with_parts(classes: Sequence[ClassInfo], class_list: str | None, options: ImportOptions) -> Sequence[ClassInfo]:
    if options.parts_of_speech is not None:
        parts = parts_of_speech(options.parts_of_speech, [c.name for c in classes])
    else:
        parts = published_parts(class_list)
    if parts is None:
        return classes
    return [c.model_copy(update=p._asdict()) for c, p in zip(classes, parts, strict=True)]


def _with_texts(
    classes: Sequence[ClassInfo], names: Sequence[str], class_list: str | None, options: ImportOptions
) -> list[ClassInfo]:
    sets: dict[str, list[list[str]]] = {}
    for name, path in options.descriptions.items():
        if name in OWN_TEXTS or "+" in name:
            raise InputError(
                f"--descriptions {name}={path}: choose another name, not {', '.join(OWN_TEXTS)} or one with +"
            )
        sets |= description_sets(name, path, names, class_list)
    return [
        c.model_copy(update={"descriptions": {**c.descriptions, **{name: texts[i] for name, texts in sets.items()}}})
        for i, c in enumerate(classes)
    ]
