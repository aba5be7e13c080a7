"""Options that several verbs share, and what they mean together."""

import shlex
from collections.abc import Sequence
from datetime import datetime
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from platform.configuration import assignments
from platform.datasets.default import DEFAULT_SPLIT, default_dataset
from platform.datasets.folder import Dataset
from platform.datasets.splits import DRAWN_FORMS
from platform.datasets.text import ClassText
from platform.errors import InputError

if TYPE_CHECKING:  # PyTorch stands behind them, and a verb's help should not wait for it
    from platform.training.protocols import ProtocolOptions
    from platform.zeroshot.problem import ProblemOptions

DatasetFolder = Annotated[Path | None, typer.Option("--dataset", help="data folder; the simulated default if absent")]
Split = Annotated[str | None, typer.Option(help="class split, by name, random:UNSEEN:SEED or half:SEED")]
Features = Annotated[str | None, typer.Option(help="feature set; to be named where the folder has several")]
Encoder = Annotated[
    str, typer.Option(help="class semantics: a text encoder, `attributes`, or an embedding's name; several joined by +")
]
Text = Annotated[str, typer.Option(help="texts of a class: name, verb, noun or description sets, joined by +")]
Combine = Annotated[str, typer.Option(help="several texts of a class: mean or concatenate")]
Normalise = Annotated[
    str | None, typer.Option(help="features: none, standard, minmax or l2; the folder's choice if absent")
]
MaskedFeatures = Annotated[
    str | None, typer.Option(help="feature set of the same clips with frames left out (SMIE); none if absent")
]
Assignments = Annotated[list[str] | None, typer.Option("--set", help="a field's value, FIELD=VALUE; may be repeated")]
Preset = Annotated[str | None, typer.Option(help="named values from the paper's tables")]
Folds = Annotated[int, typer.Option(min=1, help="draws of pseudo-unseen classes that validation averages over")]
Protocol = Annotated[str, typer.Option(help="of the test: clean, or both with the released, leaking one")]
Runs = Annotated[Path, typer.Option(help="where runs and MLflow's store stand")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N")]
Address = Annotated[str | None, typer.Option(help="a Ray cluster's address, or `auto`; this machine alone if absent")]
Json = Annotated[bool, typer.Option("--json", help="one line of JSON an event, in place of tables")]


def problem_options(
    dataset: Path | None,
    split: str | None,
    features: str | None,
    encoder: str,
    text: str,
    combine: str,
    normalise: str | None,
    masked_features: str | None = None,
) -> "ProblemOptions":
    """Raises InputError where the folder, the split or an option is wrong."""
    from platform.zeroshot.problem import ProblemOptions

    for name, value, allowed in (
        ("--combine", combine, ("mean", "concatenate")),
        ("--normalise", normalise, ("none", "standard", "minmax", "l2")),
    ):
        if value is not None and value not in allowed:
            raise InputError(f"{name} {value}: expected one of {', '.join(allowed)}")
    opened, split = dataset_and_split(dataset, split)
    return ProblemOptions(
        dataset=opened.folder.resolve(),
        split=split,
        features=named_features(opened, features),
        text=ClassText(encoder=encoder, text=text, combine=combine),
        normalise=normalise,
        masked_features=masked_features and opened.feature_set(masked_features),
    )


def written(problem: "ProblemOptions") -> str:
    """The options that ask for a problem, as they are written on a command line; defaults are left out."""
    text = problem.text
    chosen = {
        "--dataset": shlex.quote(str(problem.dataset)),
        "--split": problem.split,
        "--features": problem.features,
        "--encoder": text.encoder if text.encoder != "minilm" else None,
        "--text": text.text if text.text != "name" else None,
        "--combine": text.combine if text.combine != "mean" else None,
        "--normalise": problem.normalise,
        "--masked-features": problem.masked_features,
    }
    return " ".join(f"{option} {value}" for option, value in chosen.items() if value)


def check_features(method: str, problem: "ProblemOptions") -> None:
    """Raise InputError where a method cannot learn from the kind of features that a problem has."""
    from platform.method import load_method

    kinds, dataset = load_method(method).learns_from, Dataset(problem.dataset)
    name, sets = dataset.feature_set(problem.features), dataset.card.features
    if sets[name].kind not in kinds:
        others = [other for other, facts in sets.items() if facts.kind in kinds]
        mended = f"choose --features {' or '.join(others)}" if others else "choose another method or data folder"
        raise InputError(f"{method} learns from {' or '.join(kinds)}, but `{name}` is {sets[name].kind}; {mended}")


def dataset_and_split(dataset: Path | None, split: str | None) -> tuple[Dataset, str]:
    """A data folder and its split, each the default where it is not given. Raises InputError where one is wrong."""
    if dataset is None:
        dataset, split = default_dataset(), split or DEFAULT_SPLIT
    opened = Dataset(dataset)
    if split is None:
        if len(opened.splits) != 1:
            raise InputError(
                f"--split is needed: {dataset} has {', '.join(opened.splits) or 'none'}, and {DRAWN_FORMS}"
            )
        split = next(iter(opened.splits))
    opened.split(split)
    return opened, split


def named_features(dataset: Dataset, features: str | None) -> str:
    """A data folder's feature set by name, or its only one. Raises InputError where there are several and none named.

    None of several is taken in silence: a search on the wrong one costs hours, and its numbers look like any other.
    """
    sets = dataset.card.features
    if features is None and len(sets) > 1:
        have = "; ".join(f"{name} ({facts.extractor.partition(';')[0]})" for name, facts in sets.items())
        raise InputError(f"--features is needed: {dataset.folder} has {have}")
    return dataset.feature_set(features)


def refuse_beside_resume(context: typer.Context) -> None:
    """Raise InputError where an option was given that a resumed run cannot take any more."""
    free = {"resume", "address", "concurrent", "workers", "as_json"}
    arguments = {"method": "the METHOD", "extractor": "EXTRACTOR"}
    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name)
        if parameter.name not in free and source is not None and source.name == "COMMANDLINE":
            shown = arguments.get(parameter.name, parameter.opts[0])
            raise InputError(f"--resume goes on with what was asked for then: leave {shown} out")


def protocol_options(name: str, folds: int) -> "ProtocolOptions":
    """`clean`, or `both`: the released protocol needs the clean one's gate, and so comes beside it."""
    from platform.training.protocols import ProtocolOptions

    known = {"clean": ("clean",), "both": ("clean", "released")}
    if name not in known:
        raise InputError(f"--protocol {name}: expected clean, or both (clean and the papers' released, leaking one)")
    return ProtocolOptions(protocols=known[name], folds=folds)


def base_values(method: str, preset: str | None, assigned: Sequence[str] | None) -> dict[str, Any]:
    """The fields that a preset and --set give, checked against the method's Config."""
    from platform.method import load_method

    loaded, values = load_method(method), assignments(assigned or [])
    loaded.configure(values, preset)
    return {**(loaded.presets[preset] if preset else {}), **values}


def data_tags(problem: "ProblemOptions", splits: Sequence[str] = ()) -> dict[str, str]:
    """What MLflow says of the data. splits: of a search over several."""
    dataset, splits = Dataset(problem.dataset), splits or [problem.split]
    card, unseen = dataset.card, {name: len(dataset.split(name).unseen) for name in splits}
    return {
        "data.name": card.name,
        "data.class_list": card.class_list or "",
        "data.classes": "; ".join(f"{name}: {card.classes - count}/{count}" for name, count in unseen.items()),
        "data.split": ", ".join(splits),
        "data.features": feature_tag(problem),
        "data.text": text_tag(problem),
        "data.simulated": str(card.simulated).lower(),
        "data.licence": card.licence,
    }


def feature_tag(problem: "ProblemOptions") -> str:
    """What MLflow says of the features."""
    masked = f" with {problem.masked_features}" if problem.masked_features else ""
    return f"{problem.features or ''}{masked}"


def text_tag(problem: "ProblemOptions") -> str:
    """What MLflow says of the class text."""
    return f"{problem.text.encoder}, {problem.text.text}"


def run_folder(runs: Path, verb: str, method: str, dataset: str) -> Path:
    """A new folder's path, named for what runs in it and when."""
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
    folder = (runs / f"{verb}-{method.rpartition('.')[2]}-{dataset}-{stamp}").resolve()
    numbered = (folder.with_name(f"{folder.name}-{n}") for n in count(2))  # for one started within the same second
    return next(path for path in chain([folder], numbered) if not path.exists())
