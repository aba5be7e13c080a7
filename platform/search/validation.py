"""What a search validates on: the classes of its folds, and the accuracy by chance."""

from collections.abc import Mapping, Sequence

from platform.report.chance import chance_of
from platform.setup import ProblemData
from platform.training.protocols import ProtocolOptions
from platform.zeroshot.problem import Problem
from platform.zeroshot.task import draw_pseudo_unseen

Folds = list[tuple[int, int]]  # of each: how many pseudo-unseen classes there are, and how many classes in all


def classes_of_folds(problem: Problem, options: ProtocolOptions) -> Folds:
    """The counts of `Problem.validation_folds`, without their samples."""
    if problem.separate_validation is not None:
        task, _ = problem.separate_validation
        return [(len(task.unseen), len(task.seen) + len(task.unseen))]
    found = []
    for index in range(options.folds):
        published = index < len(problem.published_folds)
        drawn = None if published else draw_pseudo_unseen(problem.task, index, options.fold_seed)
        found.append((len(problem.published_folds[index] if published else drawn), len(problem.task.seen)))
    return found


def folds_by_split(data: ProblemData, options: ProtocolOptions) -> dict[str, Folds]:
    """`classes_of_folds` on each split of the data, one problem after the other."""
    return {split: classes_of_folds(data.loaded(split), options) for split in data.splits}


def validated_on(folds: Mapping[str, Sequence[tuple[int, int]]]) -> str:
    """The note beside validation's accuracies: numbers of classes, chance level, folds. folds: by split."""
    said: dict[str, list[str]] = {}
    for split, own in folds.items():
        unseen, every = (" or ".join(map(chance_of, sorted(set(counts)))) for counts in zip(*own, strict=True))
        count = f"{len(own)} fold" + ("s" if len(own) > 1 else "")
        said.setdefault(f"ZSL of {unseen}; s, u and H of {every}; {count}", []).append(split)
    texts = [f"{', '.join(splits)}: {text}" for text, splits in said.items()] if len(said) > 1 else list(said)
    return "validation: " + " | ".join(texts)
