"""What data a result is of: one place makes it, and whatever matches, pools or compares results uses it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol, TypeVar

from platform.setup import ProblemData

if TYPE_CHECKING:
    from platform.zeroshot.problem import ProblemOptions


@dataclass(frozen=True)
class Data:
    """The data behind a result. Equal: the same samples, classes, features, text and class split.

    name: the data folder's; content: a checksum of the samples, classes, splits and feature sets that were used, which
    two folders of one name do not share (of an older run the whole folder's, after `folder `, or nothing); unseen_test:
    which samples of unseen classes were tested, where that was asked for; classes: seen and unseen, as in 55/5; empty
    where it is not known.
    extractor: why the features are not clean on the split (the kinds of `extractor_check`); pretrained_on: other data
    that their extractor was trained on.
    """

    name: str
    split: str
    features: str
    text: str
    class_list: str = ""
    classes: str = ""
    simulated: bool = False
    content: str = ""
    unseen_test: str = ""
    extractor: tuple[str, ...] = field(default=(), compare=False)
    pretrained_on: str = field(default="", compare=False)

    @classmethod
    def of(cls, problem: "ProblemOptions", split: str) -> "Data":
        """Of the present data folder. Raises InputError where there is none."""
        own = ProblemData.of(problem, [split])
        return cls.of_tags({**own.tags(), **own.extractor_tags()}, split)

    @classmethod
    def of_tags(cls, tags: Mapping[str, str], split: str) -> "Data":
        """As `ProblemData.tags` and `extractor_tags` were recorded with a run."""
        classes, extractor = (_by_split(tags.get(name, "")) for name in ("data.classes", "data.extractor"))
        kinds = extractor.get(split, "unknown")  # of runs that did not record it
        checksum = tags.get("data.checksum", "")
        return cls(
            name=tags.get("data.name", ""),
            split=split,
            features=tags.get("data.features", ""),
            text=tags.get("data.text", ""),
            class_list=tags.get("data.class_list", ""),
            classes=classes.get(split, ""),
            simulated=tags.get("data.simulated") == "true",
            content=tags.get("data.content") or (checksum and f"folder {checksum}"),
            unseen_test=tags.get("data.unseen_test", ""),
            extractor=() if kinds == "clean" else tuple(kinds.split("+")),
            pretrained_on=tags.get("data.pretrained_on", ""),
        )

    @property
    def place(self) -> tuple[str, str]:
        """Data set and class split: a column of a table of results that are named apart."""
        return self.name, self.split


class _OfData(Protocol):
    @property
    def data(self) -> Data: ...


_Result = TypeVar("_Result", bound=_OfData)


def named_apart(results: Sequence[_Result]) -> list[_Result]:
    """The results, where data sets of one name that hold different data have names of their own, as `given (1b2c)`."""
    kinds: dict[str, dict[tuple[str, str], None]] = {}
    for result in results:
        kinds.setdefault(result.data.name, {})[result.data.content, result.data.unseen_test] = None
    return [_renamed(result, kinds[result.data.name]) for result in results]


def _renamed(result: _Result, kinds: Mapping[tuple[str, str], None]) -> _Result:
    contents, tests = ({kind[i] for kind in kinds} for i in (0, 1))
    data, said = result.data, []
    if len(contents) > 1:
        said.append(data.content.removeprefix("folder ")[:4] or "unknown")
    if len(tests) > 1:
        said.append(f"{data.unseen_test} samples of unseen classes" if data.unseen_test else "as the card says")
    return replace(result, data=replace(data, name=f"{data.name} ({', '.join(said)})")) if said else result


def _by_split(text: str) -> dict[str, str]:
    return dict(part.split(": ", 1) for part in text.split("; ") if ": " in part)
