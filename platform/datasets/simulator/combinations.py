"""Class splits whose unseen classes are new combinations of seen verbs and seen parts."""

import numpy as np

from platform.datasets.contents import ClassSplit
from platform.datasets.simulator.actions import ACTIONS, Action

_FOLDS = 3

# Unseen classes by (verb, part). No two of a split differ in left and right alone, which names hardly tell. Of several
# such sets of six this one is of middling difficulty: a linear map from poses to class names gets about 60 % right.
_UNSEEN = {
    "new_combinations": (
        ("raise", "both arms"),
        ("circle", "left arm"),
        ("shake", "right leg"),
        ("bend", "trunk"),
        ("swing", "left leg"),
        ("twist", "head"),
    ),
    "12-unseen": (
        ("raise", "left arm"),
        ("raise", "right leg"),
        ("swing", "both arms"),
        ("swing", "trunk"),
        ("circle", "right arm"),
        ("circle", "head"),
        ("shake", "left leg"),
        ("shake", "both arms"),
        ("bend", "left arm"),
        ("stretch", "right leg"),
        ("push", "both arms"),
        ("twist", "head"),
    ),
}


def combination_splits() -> dict[str, ClassSplit]:
    """The splits by name, each with three pseudo-unseen folds that follow the same rule and share no class."""
    splits = {}
    for name, pairs in _UNSEEN.items():
        unseen = [next(a for a in ACTIONS if (a.verb.name, a.part) == pair) for pair in pairs]
        folds = _draw_folds([a for a in ACTIONS if a not in unseen], len(unseen))
        splits[name] = ClassSplit(
            unseen=[a.name for a in unseen],
            pseudo_unseen=[[a.name for a in fold] for fold in folds],
            source="simulated",
        )
    return splits


def _is_new_combination(held_out: list[Action], rest: list[Action]) -> bool:
    """Whether every held-out action's verb and part occur among the rest, and no two differ in left and right alone."""
    verbs, parts = {a.verb.name for a in rest}, {a.part for a in rest}
    sideless = {(a.verb.name, a.part.removeprefix("left ").removeprefix("right ")) for a in held_out}
    return len(sideless) == len(held_out) and all(a.verb.name in verbs and a.part in parts for a in held_out)


def _draw_folds(seen: list[Action], size: int) -> list[list[Action]]:
    """Disjoint folds. The draw is fixed whatever the data's seed, so that results on any of them can be compared."""
    rng = np.random.default_rng(0)
    while True:
        order = [seen[i] for i in rng.permutation(len(seen))]
        folds: list[list[Action]] = [[] for _ in range(_FOLDS)]
        for action in order:
            for fold in folds:
                larger = [*fold, action]
                if len(fold) < size and _is_new_combination(larger, [a for a in seen if a not in larger]):
                    fold.append(action)
                    break
        if all(len(fold) == size for fold in folds):
            return folds
