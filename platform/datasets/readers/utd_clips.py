"""The clips of UTD-MHAD, from the makers' Skeleton.zip or from the folder it unpacks to."""

import re
from dataclasses import dataclass
from io import BytesIO
from itertools import product
from pathlib import Path

import numpy as np

from platform.datasets.readers.arrays import read_mat
from platform.datasets.readers.members import open_members
from platform.errors import InputError

ACTIONS, SUBJECTS, TRIALS = 27, 8, 4
_WITHDRAWN = {(8, 1, 4), (23, 6, 4), (27, 8, 4)}  # corrupted recordings that the makers took out: 861 of 864 remain
_CLIP_FILE = re.compile(r"a(\d+)_s(\d+)_t(\d+)_skeleton\.mat")
_JOINTS, _AXES = 20, 3


@dataclass(frozen=True)
class Clip:
    """One recording. joints: (T, 20, 3) float32; action, subject and trial count from 1."""

    id: str
    action: int
    subject: int
    trial: int
    joints: np.ndarray


def read_clips(path: Path) -> list[Clip]:
    """Every clip, in the order of the archive or, of a folder, by name. Raises InputError where one is lacking."""
    with open_members(path, ".mat") as (members, read):
        found = {}
        for member in members:
            if match := _CLIP_FILE.fullmatch(Path(member).name):
                found[tuple(int(part) for part in match.groups())] = member
        _check_complete(path, found)
        return [_read_clip(path, member, key, read(member)) for key, member in found.items()]


def _check_complete(path: Path, found: dict[tuple[int, ...], str]) -> None:
    expected = set(product(range(1, ACTIONS + 1), range(1, SUBJECTS + 1), range(1, TRIALS + 1)))
    missing = sorted(expected - _WITHDRAWN - set(found))
    if missing:
        first = "a{}_s{}_t{}_skeleton.mat".format(*missing[0])
        count = len(expected - _WITHDRAWN)
        raise InputError(f"{path}: `{first}` is missing, one of {len(missing)}; the makers' files are {count} clips")
    if unknown := sorted(set(found) - expected):
        raise InputError(f"{path}: `{found[unknown[0]]}` is no clip of UTD-MHAD (27 actions, 8 subjects, 4 trials)")


def _read_clip(path: Path, member: str, key: tuple[int, ...], content: bytes) -> Clip:
    where = f"{path}: `{member}`"
    joints = read_mat(BytesIO(content), where, ["d_skel"])["d_skel"]
    if joints.ndim != 3 or joints.shape[:2] != (_JOINTS, _AXES) or not joints.shape[2]:
        raise InputError(f"{where}: d_skel is {joints.shape}; expected ({_JOINTS}, {_AXES}, frames)")
    frames_first = np.ascontiguousarray(joints.transpose(2, 0, 1), dtype=np.float32)
    return Clip(Path(member).name.removesuffix("_skeleton.mat"), *key, frames_first)
