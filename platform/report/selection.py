"""How one configuration was chosen for several class splits, and what must be said of numbers that come from it."""

from collections.abc import Sequence
from typing import Literal
from urllib.parse import quote

from platform.datasets.folder import Dataset

Select = Literal["together", "per-split"]
MARK = "#"  # at the name of whatever was chosen together, in tables
TOGETHER = "chosen together over splits"


def chosen_together(dataset: Dataset, splits: Sequence[str]) -> str:
    """What is to be said where one configuration is chosen on all these splits; empty where nothing is.

    On a split, validation is trained on the seen classes: an unseen class of another split that is among them has had a
    part in the choice.
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
    """Under a search's `best`: the folder that each choice's tests stand in, and the splits that it was made on."""
    if select == "together" or len(splits) == 1:
        return {"": tuple(splits)}
    return {quote(split, safe=":"): (split,) for split in splits}
