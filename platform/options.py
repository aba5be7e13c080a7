"""Options that several verbs share, and what they mean together."""

import shlex
from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from platform import cli
from platform.configuration import assignments
from platform.datasets import contents as dataset_contents
from platform.datasets.default import DEFAULT_SPLIT, default_dataset
from platform.datasets.encoders import is_encoder
from platform.datasets.extractor_check import ALLOW, MARKS, Finding, findings, kinds_of, refuse_seen_classes
from platform.datasets.folder import Dataset
from platform.datasets.splits import DRAWN_FORMS
from platform.datasets.text import ClassText, encoder_parts, vectors_of_a_class
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
Text = Annotated[
    str | None,
    typer.Option(help="texts of a class: name, verb, noun or description sets, joined by +; what the method wants"),
]
Combine = Annotated[
    str | None, typer.Option(help="several texts of a class: mean or concatenate; what the method wants, else mean")
]
Normalise = Annotated[
    str | None, typer.Option(help="features: none, scale, standard, minmax or l2; the folder's choice if absent")
]
UnseenTest = Annotated[
    str | None, typer.Option(help="samples of unseen classes to test: all or partition; as the folder says if absent")
]
MaskedFeatures = Annotated[
    str | None, typer.Option(help="feature set of the same clips with frames left out (SMIE); none if absent")
]
Assignments = Annotated[list[str] | None, typer.Option("--set", help="a field's value, FIELD=VALUE; may be repeated")]
Preset = Annotated[
    str | None,
    typer.Option(help="named values from the paper's tables; several joined by +, where they differ the later one's"),
]
FOLDS = 3
Folds = Annotated[
    int, typer.Option(min=1, max=100, help="draws of pseudo-unseen classes that validation averages over")
]
Protocol = Annotated[str, typer.Option(help="of the test: clean, or both with the released, leaking one")]
Runs = Annotated[Path, typer.Option(help="where runs and MLflow's store stand")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N")]
Address = Annotated[str | None, typer.Option(help="a Ray cluster's address, or `auto`; this machine alone if absent")]
TrainedOnClasses = Annotated[
    str | None,
    typer.Option(
        help="Classes of this data set that the features' extractor was trained on: none, all, seen:SPLIT, unknown, or "
        "a .txt file of names."
    ),
]
PretrainedOn = Annotated[
    str | None,
    typer.Option(
        help="Other data that the features' extractor was trained on: a class list, as ntu60, or a name, as "
        "Kinetics-400, several joined by commas; none, or unknown."
    ),
]
AllowSeenExtractor = Annotated[
    bool,
    typer.Option(ALLOW, help="run where the features' extractor was trained on unseen classes, and mark every number"),
]
Json = Annotated[bool, typer.Option("--json", help="one line of JSON an event, in place of tables")]


def problem_options(
    dataset: Path | None,
    split: str | None,
    features: str | None,
    encoder: str,
    text: str | None,
    combine: str | None,
    masked_features: str | None = None,
    unseen_test: str | None = None,
    parts: Sequence[str] = (),
) -> "ProblemOptions":
    """Raises InputError where the folder, the split or an option is wrong.

    parts: a method's `text_parts`, which a text encoder encodes and concatenates where `text` and `combine` are absent;
    else these are the class names, and the mean.
    """
    from platform.zeroshot.problem import ProblemOptions

    for name, value, allowed in (
        ("--combine", combine, ("mean", "concatenate")),
        ("--unseen-test", unseen_test, get_args(dataset_contents.UnseenTest)),
    ):
        if value is not None and value not in allowed:
            raise InputError(f"{name} {value}: expected one of {', '.join(allowed)}")
    opened, split = dataset_and_split(dataset, split)
    if masked_features and opened.feature_set(masked_features) == named_features(opened, features):
        raise InputError(
            f"--masked-features {masked_features}: these are the features themselves; give those of the same clips "
            "with frames left out (python -m platform.features write --masked)"
        )
    return ProblemOptions(
        dataset=opened.folder.resolve(),
        split=split,
        features=named_features(opened, features),
        text=_class_text(opened, encoder, text, combine, parts),
        masked_features=masked_features and opened.feature_set(masked_features),
        unseen_test=unseen_test,
    )


def written(problem: "ProblemOptions", normalise: str = "auto") -> str:
    """The options that ask for a problem, as they are written on a command line; defaults are left out."""
    text = problem.text
    chosen = {
        "--dataset": shlex.quote(str(problem.dataset)),
        "--split": problem.split,
        "--features": problem.features,
        "--encoder": text.encoder if text.encoder != "minilm" else None,
        "--text": text.text if text.text != "name" else None,
        "--combine": text.combine if text.combine != "mean" else None,
        "--normalise": normalise if normalise != "auto" else None,
        "--masked-features": problem.masked_features,
        "--unseen-test": problem.unseen_test,
    }
    return " ".join(f"{option} {value}" for option, value in chosen.items() if value)


def text_parts(method: str, values: Mapping[str, Any]) -> tuple[str, ...]:
    """Which texts of a class a method wants, one after the other, where its fields have these values; () for any."""
    from platform.method import load_method

    loaded = load_method(method)
    return loaded.text_parts(loaded.configure(values))


def check_text(method: str, values: Mapping[str, Any], problem: "ProblemOptions") -> None:
    """Raise InputError where a method wants several texts of a class and a problem's semantics do not hold as many."""
    from platform.method import load_method

    parts, text, dataset = text_parts(method, values), problem.text, Dataset(problem.dataset)
    encoders, stored = encoder_parts(text.encoder, dataset.embedding_names), ("attributes", *dataset.embedding_names)
    known = all(is_encoder(encoder) or encoder in stored for encoder in encoders)  # else it is refused where it is read
    if not (parts and known):
        return
    each = zip(text.text.split("+"), parts, strict=False)
    displaced = all(map(is_encoder, encoders)) and any(own in parts and own != part for own, part in each)
    if vectors_of_a_class(dataset, text) == len(parts) and not displaced:
        return
    asked = f"--text {'+'.join(parts)} --combine concatenate"
    if len(encoders) > 1:
        mended = f"not --encoder {text.encoder}; give one text encoder, or {len(parts)} class embeddings of one width"
    elif is_encoder(text.encoder):
        mended = f"not --text {text.text} --combine {text.combine}; leave both out, or give {asked}"
    else:
        mended = f"and nothing says that `{text.encoder}` holds these; if it does, give {asked}"
    anything = load_method(method).any_text
    raise InputError(
        f"{method} takes the {' and the '.join(parts)} of a class, one vector after the other, {mended}"
        + (f"; with --set {anything} any text will do" if anything else "")
    )


def _class_text(
    dataset: Dataset, encoder: str, text: str | None, combine: str | None, parts: Sequence[str]
) -> ClassText:
    wanted = parts if all(is_encoder(part) for part in encoder_parts(encoder, dataset.embedding_names)) else ()
    return ClassText(
        encoder=encoder,
        text="+".join(wanted) or "name" if text is None else text,
        combine=("concatenate" if wanted else "mean") if combine is None else combine,
    )


def check_features(method: str, problem: "ProblemOptions", normalise: str = "auto") -> None:
    """Raise InputError where a method cannot learn from the kind of features that a problem has, or they are pictures
    that should be normalised."""
    from platform.method import load_method

    kinds, dataset = load_method(method).learns_from, Dataset(problem.dataset)
    name, sets = dataset.feature_set(problem.features), dataset.card.features
    if sets[name].kind not in kinds:
        others = [other for other, facts in sets.items() if facts.kind in kinds]
        folder = f"give --dataset a folder with {' or '.join(kinds)}" + (
            " (python -m platform.data import images makes one of pictures)" if kinds == ("pixels",) else ""
        )
        mended = f"choose --features {' or '.join(others)}" if others else folder
        raise InputError(f"{method} learns from {' or '.join(kinds)}, but `{name}` is {sets[name].kind}; {mended}")
    if sets[name].kind == "pixels" and normalise != "auto":
        from platform.zeroshot.normaliser import refuse_for_pixels

        refuse_for_pixels(normalise)


def check_extractor(problem: "ProblemOptions", splits: Sequence[str], allowed: bool) -> None:
    """Raise InputError where the features' extractor was trained on a split's unseen classes, unless it is allowed."""
    dataset = Dataset(problem.dataset)
    for split in splits:
        refuse_seen_classes(dataset, split, _feature_sets(problem), allowed)


def extractor_findings(problem: "ProblemOptions", splits: Sequence[str]) -> dict[str, list[Finding]]:
    """By split: why the features are not clean on it; an empty list where they are."""
    dataset = Dataset(problem.dataset)
    return {name: findings(dataset, dataset.named_split(name), _feature_sets(problem)) for name in splits}


def extractor_kinds(problem: "ProblemOptions", splits: Sequence[str]) -> tuple[str, ...]:
    """The kinds of findings of any of the splits, for a table's marks."""
    return kinds_of(chain.from_iterable(extractor_findings(problem, splits).values()))


def say_extractor(problem: "ProblemOptions", splits: Sequence[str], as_json: bool) -> None:
    """Say why the features are not clean, if they are not: a line each, or an event."""
    for split, found in extractor_findings(problem, splits).items():
        for finding in found:
            if as_json:
                cli.event("extractor", {"split": split, "kind": finding.kind, "said": finding.said})
            else:
                cli.say(f"{MARKS[finding.kind]} split {split}: {finding.said}")


def _feature_sets(problem: "ProblemOptions") -> list[str | None]:
    return [problem.features, *([problem.masked_features] if problem.masked_features else [])]


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


def base_values(
    method: str, preset: str | None, assigned: Sequence[str] | None, normalise: str | None = None
) -> dict[str, Any]:
    """The fields that a preset, --set and --normalise give, checked against the method's Config."""
    from platform.method import load_method

    allowed = get_args(dataset_contents.Normalisation)
    if normalise is not None and normalise not in allowed:
        raise InputError(f"--normalise {normalise}: expected one of {', '.join(allowed)}")
    loaded, values = load_method(method), assignments(assigned or [])
    values |= {} if normalise is None else {"normalise": normalise}
    loaded.configure(values, preset)
    return {**loaded.preset_values(preset), **values}


def data_tags(problem: "ProblemOptions", splits: Sequence[str] = ()) -> dict[str, str]:
    """What MLflow says of the data. splits: of a search over several."""
    dataset, splits = Dataset(problem.dataset), splits or [problem.split]
    card, unseen = dataset.card, {name: len(dataset.named_split(name).unseen) for name in splits}
    return {
        "data.name": card.name,
        "data.checksum": card.checksum,
        "data.class_list": card.class_list or "",
        "data.classes": "; ".join(f"{name}: {card.classes - count}/{count}" for name, count in unseen.items()),
        "data.split": ", ".join(splits),
        "data.features": feature_tag(problem),
        "data.text": text_tag(problem),
        "data.simulated": str(card.simulated).lower(),
        "data.licence": card.licence,
    }


def extractor_tags(problem: "ProblemOptions", splits: Sequence[str] = ()) -> dict[str, str]:
    """What MLflow says of the features' extractor: by split, why its features are not clean, and its other data."""
    splits, sets = splits or [problem.split], Dataset(problem.dataset).card.features
    kinds = {split: kinds_of(found) for split, found in extractor_findings(problem, splits).items()}
    names = [name or next(iter(sets)) for name in _feature_sets(problem)]
    others = dict.fromkeys(other for name in names for other in sets[name].trained_on.other_names)
    return {
        "data.extractor": "; ".join(f"{split}: {'+'.join(own) or 'clean'}" for split, own in kinds.items()),
        "data.pretrained_on": ", ".join(others),
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
