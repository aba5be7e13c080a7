"""Configurations chosen on several class splits, and the warning that their numbers need."""

from collections.abc import Sequence
from typing import Literal
from urllib.parse import quote

from platform.datasets.folder import Dataset

Select = Literal["together", "per-split"]
MARK = "#"  # in tables, at the name of what was chosen over several splits
TOGETHER = "chosen together over splits"


def chosen_together(dataset: Dataset, splits: Sequence[str]) -> str:
    """The warning for a configuration that is chosen on all these splits; empty where none is due.

    Validation on one split trains on its seen classes, some of which may be unseen in another and so have influenced
    the choice.
    """
    unseen = {name: set(dataset.split(name).unseen) for name in splits}
    said = []
    for name, own in unseen.items():
        elsewhere = {c for other, theirs in unseen.items() if other != name for c in own - theirs}
        if elsewhere:
            said.append(f"{len(elsewhere)} of the {len(own)} unseen classes of `{name}`")
    if not said:
        return ""
    listed = ", ".join(said)
    verb = "is" if listed.startswith("1 ") and len(said) == 1 else "are"
    return f"{TOGETHER}: {listed} {verb} seen in another split of the selection"


def best_folders(select: Select, splits: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The folders of the tests under a search's `best`, and the splits on which each choice was made."""
    if select == "together" or len(splits) == 1:
        return {"": tuple(splits)}
    return {quote(split, safe=":"): (split,) for split in splits}
