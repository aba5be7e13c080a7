"""Penn Action (Zhang, Zhu and Derpanis, ICCV 2013): the labels, a MATLAB file a clip, `0001.mat`.

Each holds `x`, `y` and `visibility` (T, 13), in pixels and whether a joint can be seen; `action`, its name; and
`train`, 1 or −1. The joints: head, then left and right shoulder, elbow, wrist, hip, knee and ankle.
"""

from collections.abc import Callable, Iterator, Mapping
from io import BytesIO
from pathlib import Path

import numpy as np

from platform.datasets.contents import Contents
from platform.datasets.readers.arrays import read_mat
from platform.datasets.readers.class_files import class_names
from platform.datasets.readers.clips import RawClip, contents_of_clips
from platform.datasets.readers.members import by_stem, open_members
from platform.datasets.readers.options import ImportOptions
from platform.errors import InputError

_SUFFIX, _EXAMPLE = ".mat", "0001"
_JOINTS = 13


def read(source: Path, options: ImportOptions) -> Contents:
    """`source`: the folder `labels`, the one it stands in, or a zip archive of it. The clips are given no features."""
    names = class_names(None, "penn_action")
    with open_members(source, _SUFFIX) as (members, read_member):
        return contents_of_clips(
            _clips(source, by_stem(source, members, _SUFFIX, _EXAMPLE), read_member, names),
            name="penn_action",
            layout="penn_13",
            classes=names,
            class_list="penn_action",
            licence="free for research with citation",
            source="Penn Action (Zhang, Zhu and Derpanis, ICCV 2013); partitions as `train` has them",
        )


def _clips(
    source: Path, members: Mapping[str, str], read_member: Callable[[str], bytes], names: list[str]
) -> Iterator[RawClip]:
    for stem, member in members.items():
        where = f"{source}: `{member}`"
        if not stem.isdecimal():
            raise InputError(f"{where} is no clip of Penn Action; a name is like {_EXAMPLE}{_SUFFIX}")
        content = read_mat(BytesIO(read_member(member)), where, ["action", "train", "x", "y", "visibility"])
        action = str(np.ravel(content["action"])[0]).replace("_", " ") if content["action"].size else ""
        if action not in names:
            raise InputError(f"{where}: unknown action `{action}`; Penn Action has {', '.join(names)}")
        train = np.ravel(content["train"])
        if train.size != 1 or train[0] not in (1, -1):
            raise InputError(f"{where}: train is {train.tolist()}; expected 1 or -1")
        yield RawClip(stem, names.index(action), -1, bool(train[0] == 1), _joints(where, content))


def _joints(where: str, content: Mapping[str, np.ndarray]) -> np.ndarray:
    """(T, 1, 13, 3): x, y and visibility."""
    axes = [content[axis] for axis in ("x", "y", "visibility")]
    for name, values in zip(("x", "y", "visibility"), axes, strict=True):
        if values.dtype.kind not in "fiub" or values.ndim != 2 or values.shape[1] != _JOINTS:
            raise InputError(f"{where}: {name} is {values.dtype} {values.shape}; expected (frames, {_JOINTS})")
        if values.shape != axes[0].shape:
            raise InputError(f"{where}: {name} has {len(values)} frames, x has {len(axes[0])}")
    return np.stack(axes, axis=2, dtype=np.float32, casting="unsafe")[:, None]
