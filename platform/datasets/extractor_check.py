"""Whether features are clean on a class split: whether their extractor was trained on unseen classes."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from platform.datasets.class_spelling import positions
from platform.datasets.contents import ClassSplit
from platform.datasets.folder import Dataset
from platform.datasets.pretraining_lists import classes_of, same_samples
from platform.datasets.trained_on import UNKNOWN, TrainedOn
from platform.errors import InputError

Kind = Literal["unseen", "same_names", "pretrained", "unknown"]
KINDS: tuple[Kind, ...] = get_args(Kind)
MARKS: dict[Kind, str] = {"unseen": "§", "same_names": "‖", "pretrained": "¶", "unknown": "?"}
LEGEND: dict[Kind, str] = {
    "unseen": "§ the features' extractor was trained on unseen classes: this is no zero-shot recognition",
    "same_names": "‖ the features' extractor was trained on other data that have classes named as unseen ones",
    "pretrained": "¶ the features' extractor was trained on other data, of which no class is known to be named as an "
    "unseen one; it may stand there under another name",
    "unknown": "? it is not known what the features' extractor was trained on: unseen classes, perhaps",
}
ALLOW = "--allow-seen-extractor"
_NAMED = 5  # classes that a line names


@dataclass(frozen=True)
class Finding:
    """One reason why features may be not clean on a split, in a line."""

    kind: Kind
    said: str


def findings(dataset: Dataset, split: ClassSplit, features: Sequence[str | None]) -> list[Finding]:
    """Why feature sets (None: the card's first), or the logits, are not clean on a split; nothing where they are."""
    card = dataset.card
    named: dict[TrainedOn, list[str]] = {}
    for name in dict.fromkeys(dataset.feature_set(name) for name in features):
        named.setdefault(card.features[name].trained_on, []).append(f"`{name}`")
    if card.logits:
        named.setdefault(card.logits_trained_on or UNKNOWN, []).append("the logits")
    return [
        Finding(kind, f"the extractor behind {' and '.join(sets)} {said}")
        for trained_on, sets in named.items()
        for kind, said in _of(trained_on, card.class_list, split.unseen)
    ]


def kinds_of(found: Iterable[Finding]) -> tuple[Kind, ...]:
    """The kinds of findings, each once, the worst first."""
    kinds = {finding.kind for finding in found}
    return tuple(kind for kind in KINDS if kind in kinds)


def marks(kinds: Iterable[str]) -> str:
    """The marks beside a number."""
    present = set(kinds)
    return "".join(MARKS[kind] for kind in KINDS if kind in present)


def legend(kinds: Iterable[str]) -> list[str]:
    """A line for each mark."""
    present = set(kinds)
    return [LEGEND[kind] for kind in KINDS if kind in present]


def refuse_seen_classes(dataset: Dataset, split: str, features: Sequence[str | None], allowed: bool = False) -> None:
    """Raise InputError where an extractor was trained on unseen classes of a split, unless that is allowed."""
    if allowed:
        return
    bad = [f for f in findings(dataset, dataset.split(split), features) if f.kind == "unseen"]
    if not bad:
        return
    clean = [name for name, other in dataset.splits.items() if _is_clean(dataset, other, features)]
    raise InputError(
        f"{dataset.folder}: split `{split}`: {bad[0].said}; choose another split "
        f"({', '.join(clean[:_NAMED]) or 'none that has a name here is clean'}), features of an extractor that has not "
        f"seen them, or {ALLOW}, which marks every number"
    )


def _is_clean(dataset: Dataset, split: ClassSplit, features: Sequence[str | None]) -> bool:
    return "unseen" not in kinds_of(findings(dataset, split, features))


def _of(trained_on: TrainedOn, class_list: str | None, unseen: Sequence[str]) -> list[tuple[Kind, str]]:
    if trained_on.classes == trained_on.other == "unknown":
        return [("unknown", "may have been trained on anything: it is not known on what")]
    found: list[tuple[Kind, str]] = []
    if own := [name for name in unseen if name in trained_on.class_names]:
        found.append(("unseen", f"was trained on {_some(own, unseen)}"))
    elif trained_on.classes == "unknown":
        found.append(("unknown", "may have been trained on unseen classes: it is not known on which of these classes"))
    for other in trained_on.other_names:
        found.append(_of_other(other, class_list, unseen))
    if trained_on.other == "unknown":
        found.append(("unknown", "may have been trained on other data too: it is not known on which"))
    return found


def _of_other(other: str, class_list: str | None, unseen: Sequence[str]) -> tuple[Kind, str]:
    known = classes_of(other)
    if known is None:
        return "pretrained", f"was trained on {other}, whose class names are not known here to be compared"
    there = [name for name, place in zip(unseen, positions(unseen, known), strict=True) if place is not None]
    if not there:
        return "pretrained", f"was trained on {other}, of whose {len(known)} classes none is named as an unseen one"
    if same_samples(class_list, other):
        return "unseen", f"was trained on {other}, the same recordings, with {_some(there, unseen)}"
    return "same_names", f"was trained on {other}, whose {len(known)} classes have the names of {_some(there, unseen)}"


def _some(names: Sequence[str], of: Sequence[str]) -> str:
    more = f", … ({len(names) - _NAMED} more)" if len(names) > _NAMED else ""
    return f"{len(names)} of the {len(of)} unseen classes: {', '.join(names[:_NAMED])}{more}"
