"""NTU RGB+D 60 and 120: the makers' `.skeleton` files, in a folder or in their zip archive."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from platform.datasets.contents import Contents
from platform.datasets.readers.class_files import class_names
from platform.datasets.readers.clips import LISTED, OUTSIDE, RawClip, contents_of_clips
from platform.datasets.readers.members import by_stem, open_members
from platform.datasets.readers.ntu_names import NTUName, checked_partition, missing_skeletons, ntu_name, trains
from platform.datasets.readers.ntu_skeleton import parse_skeleton
from platform.datasets.readers.options import ImportOptions
from platform.errors import InputError

_SUFFIX, _EXAMPLE = ".skeleton", "S001C001P001R001A001"
_COMPLETE = {"ntu60": 56_578, "ntu120": 113_945}  # samples, without those that miss skeletons


def read(source: Path, options: ImportOptions) -> Contents:
    """All samples of the class list: `ntu60` where they are within it, unless the options say otherwise."""
    left_out: Counter[str] = Counter()
    with open_members(source, _SUFFIX) as (members, read_member):
        found = _named(source, by_stem(source, members, _SUFFIX, _EXAMPLE))
        class_list = options.class_list or ("ntu60" if all(n.within("ntu60") for n in found.values()) else "ntu120")
        if class_list not in _COMPLETE:
            raise InputError(f"--class-list {class_list}: NTU RGB+D has {' or '.join(_COMPLETE)}")
        partition = checked_partition(options.partition, class_list)
        contents = contents_of_clips(
            _clips(source, found, read_member, class_list, partition, left_out),
            name=class_list,
            layout="kinect_v2",
            classes=class_names(options.classes, class_list),
            class_list=class_list,
            licence="research only, on the terms of the ROSE Lab",
            source=f"NTU RGB+D (Shahroudy et al., CVPR 2016; Liu et al., TPAMI 2020); partition {partition}",
            left_out=left_out,
        )
    missing = _COMPLETE[class_list] - len(contents.labels)
    if missing <= 0:
        return contents
    note = f"{missing:,} of the {_COMPLETE[class_list]:,} clips of {class_list} are not here"
    return replace(contents, notes=[*contents.notes, note])


def _named(source: Path, members: Mapping[str, str]) -> dict[str, NTUName]:
    """Member to the numbers in its name."""
    names = {member: ntu_name(stem) for stem, member in members.items()}
    unknown = next((member for member, name in names.items() if name is None or not name.within("ntu120")), None)
    if unknown is not None:
        raise InputError(f"{source}: `{unknown}` is no sample of NTU RGB+D 120; a name is like {_EXAMPLE}{_SUFFIX}")
    return names


def _clips(
    source: Path,
    found: Mapping[str, NTUName],
    read_member: Callable[[str], bytes],
    class_list: str,
    partition: str,
    left_out: Counter[str],
) -> Iterator[RawClip]:
    for member, name in found.items():
        stem = Path(member).name.removesuffix(_SUFFIX)
        if not name.within(class_list):
            left_out[OUTSIDE] += 1
        elif stem in missing_skeletons():
            left_out[LISTED] += 1
        else:
            # the files are ASCII; a byte that is not cannot be part of a number, and is reported where it stands
            joints = parse_skeleton(read_member(member).decode("latin-1"), f"{source}: `{member}`")
            yield RawClip(stem, name.action - 1, name.performer, trains(name, partition, class_list), joints)
