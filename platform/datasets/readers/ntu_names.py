"""What the names of NTU RGB+D's samples say, SsssCcccPpppRrrrAaaa, and the makers' partitions and lists.

Sources: Shahroudy et al., CVPR 2016, Section 3.2 (NTU RGB+D: 60 actions, setups 1 to 17); Liu et al., TPAMI 2020,
Section 3.3 (NTU RGB+D 120: 120 actions, setups 1 to 32).
"""

import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

from platform.errors import InputError

_MISSING = Path(__file__).with_name("ntu_missing_skeletons.txt")
_NAME = re.compile(r"S(\d{3})C(\d{3})P(\d{3})R(\d{3})A(\d{3})")
_LAST = {"ntu60": (17, 3, 40, 2, 60), "ntu120": (32, 3, 106, 2, 120)}  # setup, camera, performer, replication, action
_FIRST_SUBJECTS = frozenset([1, 2, 4, 5, 8, 9, 13, 14, 15, 16, 17, 18, 19, 25, 27, 28, 31, 34, 35, 38])
_SUBJECTS = {
    "ntu60": _FIRST_SUBJECTS,
    "ntu120": _FIRST_SUBJECTS
    | {45, 46, 47, 49, 50, 52, 53, 54, 55, 56, 57, 58, 59, 70, 74, 78, 80, 81, 82, 83, 84, 85, 86, 89, 91, 92, 93, 94}
    | {95, 97, 98, 100, 103},
}
PARTITIONS = {"ntu60": ("xsub", "xview"), "ntu120": ("xsub", "xset")}


class NTUName(NamedTuple):
    """Numbers of a sample, from 1."""

    setup: int
    camera: int
    performer: int
    replication: int
    action: int

    def within(self, class_list: str) -> bool:
        """Whether the sample belongs to `ntu60` or `ntu120`."""
        return all(1 <= number <= last for number, last in zip(self, _LAST[class_list], strict=True))


def ntu_name(stem: str) -> NTUName | None:
    """The numbers in a sample's name, without its ending; None where it is none."""
    match = _NAME.fullmatch(stem)
    return NTUName(*(int(number) for number in match.groups())) if match else None


def trains(name: NTUName, partition: str, class_list: str) -> bool:
    """Whether a sample is in the training part of the makers' partition.

    xsub: by performer; xview: cameras 2 and 3 (NTU RGB+D); xset: even setups (NTU RGB+D 120).
    """
    if partition == "xsub":
        return name.performer in _SUBJECTS[class_list]
    return name.camera in (2, 3) if partition == "xview" else name.setup % 2 == 0


def checked_partition(partition: str | None, class_list: str) -> str:
    """A partition of this class list, xsub where none is asked for."""
    if partition is None:
        return "xsub"
    if partition not in PARTITIONS[class_list]:
        raise InputError(f"--partition {partition}: {class_list} has {' and '.join(PARTITIONS[class_list])}")
    return partition


@cache
def missing_skeletons() -> frozenset[str]:
    """The 535 samples that the makers ask to leave out, 302 of them in NTU RGB+D."""
    names = set()
    for line in _MISSING.read_text().splitlines():
        prefix, *actions = line.split() if not line.startswith("#") else ("",)
        for part in actions:
            first, _, last = part.partition("-")
            names |= {f"{prefix}A{action:03d}" for action in range(int(first), int(last or first) + 1)}
    return frozenset(names)
