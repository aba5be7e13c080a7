"""NW-UCLA (Wang et al., CVPR 2014): a JSON file a clip, `aAA_sSS_eEE_vVV.json`, as CTR-GCN has them.

Each holds `file_name`, `label` and `skeletons` (T, 20, 3), joints in the order of the Kinect SDK for version 1. The ten
actions have the ids 1 to 6, 8, 9, 11 and 12; `label` counts them from 1. Views 1 and 2 train, view 3 tests.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from platform.datasets.contents import Contents
from platform.datasets.readers.class_files import class_names
from platform.datasets.readers.clips import RawClip, contents_of_clips
from platform.datasets.readers.members import by_stem, open_members
from platform.datasets.readers.options import ImportOptions
from platform.errors import InputError

_SUFFIX, _EXAMPLE = ".json", "a01_s01_e00_v01"
_NAME = re.compile(r"a(\d+)_s(\d+)_e(\d+)_v(\d+)")
_ACTIONS = (1, 2, 3, 4, 5, 6, 8, 9, 11, 12)
_TRAINING_VIEWS, _VIEWS = (1, 2), (1, 2, 3)
_JOINTS, _AXES = 20, 3
# The SDK begins with hip centre, spine, shoulder centre and head; the project, as UTD-MHAD, with the head.
_ORDER = [3, 2, 1, 0, *range(4, _JOINTS)]


def read(source: Path, options: ImportOptions) -> Contents:
    """`source`: the folder of the files, or a zip archive of it."""
    with open_members(source, _SUFFIX) as (members, read_member):
        return contents_of_clips(
            _clips(source, by_stem(source, members, _SUFFIX, _EXAMPLE), read_member),
            name="nw_ucla",
            layout="kinect_v1",
            classes=class_names(None, "nw_ucla"),
            class_list="nw_ucla",
            licence="free for research with citation",
            source="NW-UCLA Multiview Action 3D (Wang et al., CVPR 2014); views 1 and 2 are the training partition",
        )


def _clips(source: Path, members: Mapping[str, str], read_member: Callable[[str], bytes]) -> Iterator[RawClip]:
    for stem, member in members.items():
        where = f"{source}: `{member}`"
        match = _NAME.fullmatch(stem)
        action, subject, _, view = (int(n) for n in match.groups()) if match else (0, 0, 0, 0)
        if action not in _ACTIONS or view not in _VIEWS:
            ids = ", ".join(map(str, _ACTIONS))
            raise InputError(f"{where} is no clip of NW-UCLA; a name is like {_EXAMPLE}, actions {ids}, views 1 to 3")
        content = _parsed(where, read_member(member))
        label = _ACTIONS.index(action)
        if content["file_name"] != stem or content["label"] != label + 1:
            raise InputError(
                f"{where}: says file_name {content['file_name']!r} and label {content['label']!r}; by its name they "
                f"are `{stem}` and {label + 1}"
            )
        yield RawClip(stem, label, subject, view in _TRAINING_VIEWS, _joints(where, content["skeletons"]))


def _parsed(where: str, content: bytes) -> dict[str, Any]:
    try:
        parsed = json.loads(content)
    except ValueError as error:  # JSON's and Unicode's are both
        raise InputError(f"{where}: truncated, or no JSON ({error})") from error
    missing = [k for k in ("file_name", "label", "skeletons") if not isinstance(parsed, dict) or k not in parsed]
    if missing:
        raise InputError(f"{where}: no `{missing[0]}`; a clip has file_name, label and skeletons")
    return parsed


def _joints(where: str, skeletons: object) -> np.ndarray:
    """(T, 1, 20, 3)."""
    try:
        joints = np.array(skeletons, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise InputError(f"{where}: `skeletons` are no numbers (frames, {_JOINTS}, {_AXES}): {error}") from error
    if joints.size and (joints.ndim != 3 or joints.shape[1:] != (_JOINTS, _AXES)):
        raise InputError(f"{where}: `skeletons` is {joints.shape}; expected (frames, {_JOINTS}, {_AXES})")
    return joints.reshape(-1, _JOINTS, _AXES)[:, None, _ORDER]
