"""Pictures that a features file names by their paths on its authors' machine (`image_files` of res101.mat)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from platform.datasets.contents import FeatureArray
from platform.datasets.readers.odd_files import OddFiles
from platform.datasets.readers.options import ImportOptions
from platform.datasets.readers.picture_files import list_pictures
from platform.datasets.readers.pictures import import_pictures, require_every_class
from platform.errors import InputError


@dataclass(frozen=True)
class NamedPictures:
    """encoded: the K that are there and can be read; kept: (N,) True at these; ids: their names, where all differ."""

    encoded: FeatureArray
    kept: np.ndarray
    ids: Sequence[str] | None
    notes: Sequence[str]


def read_named_pictures(
    paths: Sequence[str], labels: np.ndarray, names: Sequence[str], options: ImportOptions
) -> NamedPictures:
    """The pictures of --images, in the order of the samples. paths, labels: (N,).

    A picture is found by the longest end of its path that is there below --images. Raises InputError where none is, or
    a class loses all its samples.
    """
    files, odd = list_pictures(options.images), OddFiles("pictures")
    found = [files.find(path) for path in paths]
    present = [name for name in found if name is not None]
    if not present:
        raise InputError(
            f"--images {options.images}: it has `{files.names[0]}`, but no end of the path {paths[0]} in image_files; "
            "give the folder below which the pictures stand as in these paths"
        )
    odd.add("left out, which are not there", *(p for p, name in zip(paths, found, strict=True) if name is None))
    pictures = import_pictures(options.images, present, options, odd)
    kept = np.array([name is not None for name in found])
    kept[kept] = pictures.kept
    occurring, places = np.unique(labels, return_inverse=True)  # a class may have no sample in any partition
    require_every_class(places[kept], [names[i] for i in occurring], odd)
    ids = [name for name, is_kept in zip(present, pictures.kept.tolist(), strict=True) if is_kept]
    # several samples of aPY are parts of one picture
    return NamedPictures(pictures.encoded, kept, ids if len(set(ids)) == len(ids) else None, odd.notes())
