"""Class names however their source spells them: `ApplyEyeMakeup`, `apply_eye_makeup`, `1 Apply Eye Makeup`."""

import difflib
import re
from collections import Counter
from collections.abc import Callable, Sequence

from platform.datasets.splits import published_class_lists
from platform.errors import InputError

# Lists without numbers of their own: a file's labels may count the classes in any order, and its names decide.
LISTS_BY_NAME = ("ucf101", "hmdb51", "olympic16")

_NUMBER = re.compile(r"^\d+[\s._-]+(?=\D)")
_OTHER_NAMES = {
    "basketballshooting": "basketball",  # TruZe's lists
    "salsaspins": "salsaspin",  # TruZe's lists
    "swingbasketball": "swingbaseball",  # TruZe's lists; HMDB51 has no other swing
    "cutkitchen": "cuttinginkitchen",  # word2vec embeddings of UCF101's classes, as are the next two
    "walkdog": "walkingwithdog",
    "weightlifting": "cleanandjerk",
}


def positions(names: Sequence[str], known: Sequence[str]) -> list[int | None]:
    """Where each name stands in `known`, whatever the spelling of either; None where it does not.

    Letter case and whatever is no letter or digit are passed over, and, where nothing is found so, a number before the
    name. A name that stands there as it is spelled goes before another name of the same class, and what two of `known`
    have in common decides nothing.
    """
    lookups = [(key, _unambiguous(known, key)) for key in (str, _letters, _class)]
    return [next((table[key(name)] for key, table in lookups if key(name) in table), None) for name in names]


def published_positions(names: Sequence[str], class_list: str) -> list[int]:
    """The published index of each class. Raises InputError unless every published class has exactly one name here."""
    known = published_class_lists()[class_list]["classes"]
    found = positions(names, known)
    taken: dict[int, str] = {}
    for name, position in zip(names, found, strict=True):
        if position is None:
            raise InputError(f"class `{name}` is none of the class list `{class_list}`{_nearest(name, known)}")
        if position in taken:
            both = f"`{taken[position]}` and `{name}`"
            raise InputError(f"classes {both} are both `{known[position]}` of the class list `{class_list}`")
        taken[position] = name
    if missing := [name for i, name in enumerate(known) if i not in taken]:
        raise InputError(
            f"class list `{class_list}` has {len(known)} classes, the data set {len(names)}; `{missing[0]}` is missing"
        )
    return [i for i in found if i is not None]


def published_list_of(names: Sequence[str]) -> str | None:
    """The class list whose classes these are, each named once; None where there is none."""
    for class_list in LISTS_BY_NAME:
        known = published_class_lists()[class_list]["classes"]
        if len(names) == len(known) and set(positions(names, known)) == set(range(len(known))):
            return class_list
    return None


def _unambiguous(known: Sequence[str], key: Callable[[str], str]) -> dict[str, int]:
    keys = [key(name) for name in known]
    counts = Counter(keys)
    return {k: i for i, k in enumerate(keys) if k and counts[k] == 1}


def _letters(name: str) -> str:
    return re.sub(r"[\W_]+", "", name).casefold()


def _class(name: str) -> str:
    letters = _letters(_NUMBER.sub("", name.strip()))
    return _OTHER_NAMES.get(letters, letters)


def _nearest(name: str, known: Sequence[str]) -> str:
    spelled = {_letters(k): k for k in known}
    near = difflib.get_close_matches(_letters(name), spelled, n=1)
    return f"; the nearest is `{spelled[near[0]]}`" if near else ""
