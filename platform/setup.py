"""A run's method and data, looked up once, with the checks before it starts and its MLflow tags."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

from platform import cli
from platform.datasets.encoders import is_encoder
from platform.datasets.extractor_check import MARKS, Finding, findings, kinds_of, refuse_seen_classes
from platform.datasets.folder import Dataset
from platform.datasets.text import encoder_parts, vectors_of_a_class
from platform.errors import InputError

if TYPE_CHECKING:  # PyTorch stands behind them, and a verb's help should not wait for it
    from platform.method import Method, ScoringConfig
    from platform.zeroshot.problem import Problem, ProblemOptions

# of the first kind that a method learns from: the layout to import, and what it makes a folder of
_IMPORTED = {"pictures": "images makes one of pictures", "frames": "videos makes one of videos"}


@dataclass(frozen=True)
class ProblemData:
    """A problem's data folder, and the class splits that a run is on."""

    problem: "ProblemOptions"
    dataset: Dataset
    splits: tuple[str, ...]

    @classmethod
    def of(cls, problem: "ProblemOptions", splits: Sequence[str] = ()) -> "ProblemData":
        """splits: the problem's own if absent. Raises InputError where there is no data folder."""
        return cls(problem, Dataset(problem.dataset), tuple(splits) or (problem.split,))

    def loaded(self, split: str) -> "Problem":
        """The problem on a split, read anew and not kept: it holds copies of its samples. Raises InputError."""
        from platform.zeroshot.problem import load_problem

        return load_problem(self.problem.on(split))

    def check_extractor(self, allowed: bool) -> None:
        """Raise InputError where the features' extractor was trained on a split's unseen classes, unless allowed."""
        for split in self.splits:
            refuse_seen_classes(self.dataset, split, self._feature_sets, allowed)

    def extractor_findings(self) -> dict[str, list[Finding]]:
        """By split: why the features are not clean on it; an empty list where they are."""
        splits = {name: self.dataset.named_split(name) for name in self.splits}
        return {name: findings(self.dataset, split, self._feature_sets) for name, split in splits.items()}

    def extractor_kinds(self) -> tuple[str, ...]:
        """The kinds of findings over all splits, for a table's marks."""
        return kinds_of(chain.from_iterable(self.extractor_findings().values()))

    def say_extractor(self, as_json: bool) -> None:
        """Report why the features are not clean, if they are not: a line each, or an event."""
        for split, found in self.extractor_findings().items():
            for finding in found:
                if as_json:
                    cli.event("extractor", {"split": split, "kind": finding.kind, "said": finding.said})
                else:
                    cli.say(f"{MARKS[finding.kind]} split {split}: {finding.said}")

    def tags(self) -> dict[str, str]:
        """MLflow tags of the data."""
        card, unseen = self.dataset.card, {name: len(self.dataset.named_split(name).unseen) for name in self.splits}
        return {
            "data.name": card.name,
            "data.checksum": card.checksum,
            "data.content": self.dataset.content(self._feature_sets),
            "data.class_list": card.class_list or "",
            "data.classes": "; ".join(f"{name}: {card.classes - count}/{count}" for name, count in unseen.items()),
            "data.split": ", ".join(self.splits),
            "data.features": feature_tag(self.problem),
            "data.text": text_tag(self.problem),
            "data.unseen_test": self.problem.unseen_test or "",
            "data.simulated": str(card.simulated).lower(),
            "data.licence": card.licence,
        }

    def extractor_tags(self) -> dict[str, str]:
        """MLflow tags of the features' extractor: by split, why they are not clean; and its other training data."""
        sets = self.dataset.card.features
        kinds = {split: kinds_of(found) for split, found in self.extractor_findings().items()}
        names = [name or next(iter(sets)) for name in self._feature_sets]
        others = dict.fromkeys(other for name in names for other in sets[name].trained_on.other_names)
        return {
            "data.extractor": "; ".join(f"{split}: {'+'.join(own) or 'clean'}" for split, own in kinds.items()),
            "data.pretrained_on": ", ".join(others),
        }

    @property
    def _feature_sets(self) -> list[str | None]:
        masked = self.problem.masked_features
        return [self.problem.features, *([masked] if masked else [])]


@dataclass(frozen=True)
class ConfiguredMethod:
    """A method by its module's name, and the values of its fields. config: these and the defaults, checked."""

    name: str
    method: "Method"
    values: Mapping[str, Any]
    config: "ScoringConfig"

    @classmethod
    def of(cls, name: str, values: Mapping[str, Any], preset: str | None = None) -> "ConfiguredMethod":
        """values: over those of a preset. Raises InputError where there is no such method, preset, field or value."""
        from platform.method import load_method

        method = load_method(name)
        values = {**method.preset_values(preset), **values}
        return cls(name, method, values, method.configure(values))

    @property
    def short(self) -> str:
        """The last part of its name."""
        return self.name.rpartition(".")[2]

    @property
    def text_parts(self) -> tuple[str, ...]:
        """The texts of a class that it needs, concatenated; () for any."""
        return self.method.text_parts(self.config)


@dataclass(frozen=True)
class Setup:
    """A configured method and its data."""

    method: ConfiguredMethod
    data: ProblemData

    def check(self) -> None:
        """Raise InputError where the method cannot learn from these features or this class text."""
        self._check_features()
        self._check_text()

    def _check_features(self) -> None:
        """Check that the method accepts features of this kind, and that pictures and frames are not normalised."""
        kinds, sets = self.method.method.learns_from, self.data.dataset.card.features
        name = self.data.dataset.feature_set(self.data.problem.features)
        if sets[name].kind not in kinds:
            others = [other for other, facts in sets.items() if facts.kind in kinds]
            folder = f"give --dataset a folder with {' or '.join(kinds)}" + (
                f" (python -m platform.data import {_IMPORTED[kinds[0]]})" if kinds[0] in _IMPORTED else ""
            )
            mended = f"choose --features {' or '.join(others)}" if others else folder
            raise InputError(
                f"{self.method.name} learns from {' or '.join(kinds)}, but `{name}` is {sets[name].kind}; {mended}"
            )
        if sets[name].kind != "numbers" and self.method.config.normalise != "auto":
            from platform.zeroshot.normaliser import refuse_normalisation

            refuse_normalisation(self.method.config.normalise, sets[name].kind)

    def _check_text(self) -> None:
        """Check that the class text has as many texts as the method needs."""
        parts, text, dataset = self.method.text_parts, self.data.problem.text, self.data.dataset
        encoders = encoder_parts(text.encoder, dataset.embedding_names)
        stored = ("attributes", *dataset.embedding_names)
        known = all(is_encoder(part) or part in stored for part in encoders)  # otherwise refused when it is read
        if not (parts and known):
            return
        each = zip(text.text.split("+"), parts, strict=False)
        displaced = all(map(is_encoder, encoders)) and any(own in parts and own != part for own, part in each)
        if vectors_of_a_class(dataset, text) == len(parts) and not displaced:
            return
        asked = f"--text {'+'.join(parts)} --combine concatenate"
        if len(encoders) > 1:
            mended = (
                f"not --encoder {text.encoder}; give one text encoder, or {len(parts)} class embeddings of one width"
            )
        elif is_encoder(text.encoder):
            mended = f"not --text {text.text} --combine {text.combine}; leave both out, or give {asked}"
        else:
            mended = f"and nothing says that `{text.encoder}` holds these; if it does, give {asked}"
        anything = self.method.method.any_text
        raise InputError(
            f"{self.method.name} takes the {' and the '.join(parts)} of a class, one vector after the other, {mended}"
            + (f"; with --set {anything} any text will do" if anything else "")
        )


def feature_tag(problem: "ProblemOptions") -> str:
    """The MLflow tag of the features."""
    masked = f" with {problem.masked_features}" if problem.masked_features else ""
    return f"{problem.features or ''}{masked}"


def text_tag(problem: "ProblemOptions") -> str:
    """The MLflow tag of the class text; how several texts are combined is a part of it."""
    combined = f", {problem.text.combine}" if "+" in problem.text.text else ""
    return f"{problem.text.encoder}, {problem.text.text}{combined}"
