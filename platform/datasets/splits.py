"""Class splits: the published ones, built in by name with their source, and random ones by seed."""

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np

from platform.datasets.contents import ClassSplit
from platform.errors import InputError

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


def random_split(name: str, class_names: Sequence[str]) -> ClassSplit:
    """`random:UNSEEN:SEED`: that many unseen classes drawn without replacement by that seed."""
    try:
        count, seed = (int(part) for part in name.split(":")[1:])
    except ValueError:
        raise InputError(f"split `{name}`: a random split is written random:UNSEEN:SEED, as in random:5:0") from None
    if not 0 < count < len(class_names) or seed < 0:
        raise InputError(f"split `{name}`: UNSEEN must be 1 to {len(class_names) - 1}, and SEED 0 or more")
    drawn = np.random.default_rng(seed).choice(len(class_names), count, replace=False)
    return ClassSplit(unseen=[class_names[i] for i in sorted(drawn)], source=f"drawn at random with seed {seed}")
