"""MSR-Action3D (Li et al., CVPRW 2010): a text file a clip, `aAA_sSS_eEE_skeleton3D.txt`, real-world coordinates.

A line a joint, `x y z confidence`, y up; 20 lines a frame. 20 actions by 10 subjects; odd subjects train.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np

from platform.datasets.contents import Contents
from platform.datasets.readers.class_files import class_names
from platform.datasets.readers.clips import RawClip, contents_of_clips
from platform.datasets.readers.members import by_stem, open_members
from platform.datasets.readers.options import ImportOptions
from platform.errors import InputError

_SUFFIX, _EXAMPLE = "_skeleton3D.txt", "a01_s01_e01"
_NAME = re.compile(r"a(\d+)_s(\d+)_e(\d+)")
_ACTIONS, _SUBJECTS = 20, 10
_JOINTS, _NUMBERS = 20, 4
_RATE = 15.0  # frames a second
# Where the files have each joint of the project's Kinect v1 order. Theirs is: right and left shoulder, shoulder centre,
# spine, right and left hip, hip centre, then right and left elbow, wrist, hand, knee, ankle and foot, and the head.
_ORDER = [19, 2, 3, 6, 1, 8, 10, 12, 0, 7, 9, 11, 5, 14, 16, 18, 4, 13, 15, 17]


def read(source: Path, options: ImportOptions) -> Contents:
    """`source`: the folder of the files, or a zip archive of it."""
    with open_members(source, _SUFFIX) as (members, read_member):
        return contents_of_clips(
            _clips(source, by_stem(source, members, _SUFFIX, _EXAMPLE), read_member),
            name="msr_action3d",
            layout="kinect_v1",
            classes=class_names(None, "msr_action3d"),
            class_list="msr_action3d",
            licence="free for research with citation",
            source="MSR-Action3D (Li, Zhang and Liu, CVPR workshops 2010); odd subjects are the training partition",
            rate=_RATE,
        )


def _clips(source: Path, members: Mapping[str, str], read_member: Callable[[str], bytes]) -> Iterator[RawClip]:
    for stem, member in members.items():
        where = f"{source}: `{member}`"
        match = _NAME.fullmatch(stem)
        action, subject, _ = (int(n) for n in match.groups()) if match else (0, 0, 0)
        if not 1 <= action <= _ACTIONS or not 1 <= subject <= _SUBJECTS:
            raise InputError(
                f"{where} is no clip of MSR-Action3D; a name is like {_EXAMPLE}{_SUFFIX}, with {_ACTIONS} actions and "
                f"{_SUBJECTS} subjects"
            )
        # the files are ASCII; a byte that is not cannot be part of a number, and is reported where it stands
        joints = _joints(where, read_member(member).decode("latin-1"))
        yield RawClip(stem, action - 1, subject, subject % 2 == 1, joints)


def _joints(where: str, text: str) -> np.ndarray:
    """(T, 1, 20, 3)."""
    rows = [line.split() for line in text.splitlines() if line.strip()]
    wrong = next((i for i, row in enumerate(rows) if len(row) != _NUMBERS), None)
    if wrong is not None:
        raise InputError(f"{where}: line {wrong + 1}: {len(rows[wrong])} numbers; a joint is `x y z confidence`")
    if len(rows) % _JOINTS:
        raise InputError(f"{where}: truncated: {len(rows)} lines are no whole number of frames of {_JOINTS} joints")
    try:
        joints = np.array([row[:3] for row in rows], dtype=np.float32)
    except ValueError as error:
        raise InputError(f"{where}: holds something that is no number ({error})") from error
    return joints.reshape(-1, _JOINTS, 3)[:, None, _ORDER]
