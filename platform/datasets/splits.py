"""Class splits: the published ones, built in by name with their source, and random ones by seed."""

import json
from collections.abc import Collection, Sequence
from functools import cache
from pathlib import Path

import numpy as np

from platform.datasets.contents import ClassSplit, UnseenTest
from platform.errors import InputError

DRAWN_FORMS = "random:UNSEEN:SEED or half:SEED"
# their zero-shot protocols (SynSE, SMIE, SA-DVAE) test the unseen classes on the official test partition alone
_BY_PARTITION = {"ntu60", "ntu120", "pku51"}
_PUBLISHED = Path(__file__).with_name("published_splits.json")


@cache
def published_class_lists() -> dict[str, dict]:
    """Class list name to {"classes": names or None, "count": C, "splits": {name: {unseen, pseudo_unseen, source}}}.

    Class indices are 0-based positions in the published order.
    """
    return json.loads(_PUBLISHED.read_text())


def published_splits(class_list: str | None, class_names: Sequence[str]) -> dict[str, ClassSplit]:
    """The published splits of a class list, in this data set's own class names (its order must be the list's)."""
    if class_list is None:
        return {}
    known = published_class_lists()
    if class_list not in known:
        raise InputError(f"unknown class list `{class_list}`; the built-in ones are {', '.join(known)}")
    if known[class_list]["count"] != len(class_names):
        count = known[class_list]["count"]
        raise InputError(f"class list `{class_list}` has {count} classes, the data set {len(class_names)}")
    return {
        name: ClassSplit(
            unseen=[class_names[i] for i in split["unseen"]],
            pseudo_unseen=[[class_names[i] for i in fold] for fold in split["pseudo_unseen"]],
            source=split["source"],
        )
        for name, split in known[class_list]["splits"].items()
    }


def published_unseen_test(class_list: str | None) -> UnseenTest:
    """Which samples of unseen classes the published protocols of a class list test; all of them where none says."""
    return "partition" if class_list in _BY_PARTITION else "all"


def is_drawn(name: str) -> bool:
    """Whether the name asks for a split that is drawn, and not for one that is kept under that name."""
    return name.startswith(("random:", "half:"))


def drawn_split(name: str, class_names: Sequence[str]) -> ClassSplit:
    """`random:UNSEEN:SEED`: that many unseen classes drawn without replacement by that seed. `half:SEED`: half of them.

    Of an odd number the larger half is seen, as in the 51 and 50 classes of UCF101 (the 50/50 protocol of zero-shot
    action recognition).
    """
    kind, *numbers = name.split(":")
    form, example = ("half:SEED", "half:0") if kind == "half" else ("random:UNSEEN:SEED", "random:5:0")
    try:
        count, seed = (int(part) for part in ([len(class_names) // 2, *numbers] if kind == "half" else numbers))
    except ValueError:
        raise InputError(f"split `{name}`: a {kind} split is written {form}, as in {example}") from None
    if not 0 < count < len(class_names) or seed < 0:
        raise InputError(f"split `{name}`: UNSEEN must be 2 to {len(class_names) - 2}, and SEED 0 or more")
    drawn = np.random.default_rng(seed).choice(len(class_names), count, replace=False)
    return ClassSplit(unseen=[class_names[i] for i in sorted(drawn)], source=f"drawn at random with seed {seed}")


def refuse_single_class(where: str, split: ClassSplit, tested: Collection[str]) -> None:
    """Raise InputError where every test sample of an unseen class is of the same one.

    Zero-shot accuracy among one class is 100 % whatever the model does. tested: classes with test samples; a split of
    which none is tested is for the caller to refuse.
    """
    found = [name for name in split.unseen if name in tested]
    if len(split.unseen) > 1 and len(found) != 1:
        return
    what = "it has one unseen class" if len(split.unseen) == 1 else "all its test samples of unseen classes are of one"
    raise InputError(
        f"{where}: {what}, `{(found or split.unseen)[0]}`, among which every model is right, 100 % by construction; "
        "choose a split that tests two unseen classes or more"
    )
