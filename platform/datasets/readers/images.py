"""Pictures in class folders, CLASS/FILE.jpg, or a .zip of them: the samples are the pictures themselves."""

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from platform.datasets.contents import ClassInfo, Contents
from platform.datasets.readers.class_files import class_names
from platform.datasets.readers.class_folders import class_indices
from platform.datasets.readers.odd_files import OddFiles
from platform.datasets.readers.options import ImportOptions
from platform.datasets.readers.partitions import draw_partition, partition_note
from platform.datasets.readers.path_lists import read_path_list
from platform.datasets.readers.picture_files import PictureFiles, classes_of, list_pictures
from platform.datasets.readers.pictures import import_pictures, require_every_class
from platform.datasets.splits import published_class_lists
from platform.errors import InputError


def read(source: Path, options: ImportOptions) -> Contents:
    """One sample a readable picture, in the order of their paths. Classes are the folders, or those of --classes.

    Raises InputError where a class has no readable picture, or its folder is none of --classes.
    """
    files = list_pictures(source)
    odd = OddFiles("files")
    odd.add("passed over, which are no pictures", *files.others)
    folders, loose = classes_of(files)
    odd.add("left out, which stand in no class folder", *loose)
    listed = _listed(files, options, odd)
    if listed is not None:
        odd.add("left out, which stand in neither list", *(name for name in folders if name not in listed))
        folders = {name: folder for name, folder in folders.items() if name in listed}
    classes = sorted(set(folders.values()))
    names = classes if options.classes is None else class_names(options.classes, None)
    index = class_indices(classes, names, source)
    labels = np.array([index[folder] for folder in folders.values()])
    pictures = import_pictures(source, list(folders), options, odd)
    require_every_class(labels[pictures.kept], names, odd)
    kept = [name for name, is_kept in zip(folders, pictures.kept.tolist(), strict=True) if is_kept]
    labels = labels[pictures.kept]
    if listed is None:
        seed = options.seed or 0
        train, note = draw_partition(labels, seed), partition_note(seed)
    else:
        train, note = np.array([listed[name] for name in kept]), "partitions as the lists have them"
    return Contents(
        name=source.stem,
        modality="image",
        licence="",
        source=f"pictures in {source.name}; {note}",
        classes=[ClassInfo(name=name) for name in names],
        labels=labels,
        train=train,
        features={"pictures": pictures.encoded},
        ids=[f"{folders[name]}/{PurePosixPath(name).name}" for name in kept],
        class_list=next((n for n, known in published_class_lists().items() if known["classes"] == names), None),
        notes=odd.notes(),
    )


def _listed(pictures: PictureFiles, options: ImportOptions, odd: OddFiles) -> Mapping[str, bool] | None:
    """The pictures that the lists name, and whether they train; None where the partition is drawn."""
    if options.train_list is None and options.test_list is None:
        return None
    if options.train_list is None or options.test_list is None:
        raise InputError("--train-list and --test-list go together; without them a partition is drawn")
    if options.seed is not None:
        raise InputError("--seed does not apply: --train-list and --test-list are the partition")
    train, test = (_found(pictures, read_path_list(path), odd) for path in (options.train_list, options.test_list))
    if both := set(train) & set(test):
        where = f"{options.train_list}, {options.test_list}"
        raise InputError(f"{where}: `{min(both)}` stands in the training list and in the test list")
    if not train or not test:
        empty = options.test_list if train else options.train_list
        raise InputError(f"{empty}: names no picture of {pictures.source}; it has {pictures.names[0]} and others")
    return dict.fromkeys(train, True) | dict.fromkeys(test, False)


def _found(pictures: PictureFiles, paths: Sequence[str], odd: OddFiles) -> list[str]:
    found = [pictures.find(path) for path in paths]
    odd.add("listed, which are not there", *(p for p, name in zip(paths, found, strict=True) if name is None))
    return [name for name in found if name is not None]
