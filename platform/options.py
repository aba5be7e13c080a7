"""Options that several verbs share, in groups (see `groups.py`), and what they mean together."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from platform.configuration import assignments
from platform.datasets.contents import Normalisation, UnseenTest
from platform.datasets.default import DEFAULT_SPLIT, default_dataset
from platform.datasets.encoders import is_encoder
from platform.datasets.extractor_check import ALLOW
from platform.datasets.folder import Dataset
from platform.datasets.splits import DRAWN_FORMS
from platform.datasets.text import ClassText, Combine, encoder_parts
from platform.errors import InputError
from platform.groups import Expected
from platform.setup import ConfiguredMethod, ProblemData

if TYPE_CHECKING:  # PyTorch stands behind them, and a verb's help should not wait for it
    from platform.training.protocols import ProtocolOptions
    from platform.zeroshot.problem import ProblemOptions

DatasetFolder = Annotated[Path | None, typer.Option("--dataset", help="data folder; the simulated default if absent")]
Split = Annotated[str | None, typer.Option(help="class split, by name, random:UNSEEN:SEED or half:SEED")]
CombineTexts = Annotated[
    Combine | None,
    typer.Option(help="how to combine several texts: mean or concatenate; as the method needs, else mean"),
]
UnseenSamples = Annotated[
    UnseenTest | None,
    typer.Option(help="samples of unseen classes to test: all or partition; default: as on the folder's card"),
]
Assignments = Annotated[list[str] | None, typer.Option("--set", help="a field's value, FIELD=VALUE; may be repeated")]
Folds = Annotated[
    int, typer.Option(min=1, max=100, help="draws of pseudo-unseen classes that validation averages over")
]
FOLDS = 3
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
    typer.Option(ALLOW, help="allow features whose extractor was trained on unseen classes; marks every number"),
]
RESUME = typer.Option(help="folder of an interrupted training to resume")
Json = Annotated[bool, typer.Option("--json", help="one line of JSON per event, instead of tables")]


@dataclass(frozen=True)
class DataOptions:
    """The data and the class text of a method."""

    dataset: DatasetFolder = None
    split: Split = None
    features: Annotated[str | None, typer.Option(help="feature set; required where the folder has several")] = None
    encoder: Annotated[
        str,
        typer.Option(help="class semantics: a text encoder, `attributes`, or an embedding's name; several joined by +"),
    ] = "minilm"
    text: Annotated[
        str | None,
        typer.Option(help="texts of a class: name, verb, noun or description sets, joined by +; as the method needs"),
    ] = None
    combine: CombineTexts = None
    masked_features: Annotated[
        str | None, typer.Option(help="feature set of the same clips with frames left out (SMIE); none if absent")
    ] = None
    unseen_test: UnseenSamples = None

    def found(self, parts: Sequence[str] = (), splits: Sequence[str] = ()) -> ProblemData:
        """Raises InputError where the folder, the split or an option is wrong.

        parts: a method's `text_parts`, which a text encoder encodes and concatenates where `text` and `combine` are
        absent; else these are the class names, and the mean. splits: of a run on several, in place of `split`.
        """
        from platform.zeroshot.problem import ProblemOptions

        dataset, split = dataset_and_split(self.dataset, splits[0] if splits else self.split)
        features = named_features(dataset, self.features)
        masked = self.masked_features and dataset.feature_set(self.masked_features)
        if masked == features:
            raise InputError(
                f"--masked-features {masked}: these are the features themselves; give those of the same clips "
                "with frames left out (python -m platform.features write --masked)"
            )
        problem = ProblemOptions(
            dataset=dataset.folder.resolve(),
            split=split,
            features=features,
            text=self._class_text(dataset, parts),
            masked_features=masked,
            unseen_test=self.unseen_test,
        )
        return ProblemData(problem, dataset, tuple(splits) or (split,))

    def _class_text(self, dataset: Dataset, parts: Sequence[str]) -> ClassText:
        wanted = parts if all(map(is_encoder, encoder_parts(self.encoder, dataset.embedding_names))) else ()
        return ClassText(
            encoder=self.encoder,
            text="+".join(wanted) or "name" if self.text is None else self.text,
            combine=("concatenate" if wanted else "mean") if self.combine is None else self.combine,
        )


@dataclass(frozen=True)
class FieldOptions:
    """Values of a method's fields."""

    preset: Annotated[
        str | None,
        typer.Option(help="named values from the paper's tables; several joined by +, of which later ones override"),
    ] = None
    assigned: Assignments = None

    @property
    def values(self) -> dict[str, Any]:
        """The values given beside the preset."""
        return assignments(self.assigned or [])


@dataclass(frozen=True)
class ConfigurationOptions(FieldOptions):
    """A method's configuration."""

    normalise: Annotated[
        Normalisation | None,
        typer.Option(help="features: none, scale, standard, minmax or l2; the folder's choice if absent"),
    ] = None

    @property
    def values(self) -> dict[str, Any]:
        return super().values | ({} if self.normalise is None else {"normalise": self.normalise})

    def configured(self, method: str) -> ConfiguredMethod:
        """A method with these values over its preset's. Raises InputError where one is wrong."""
        return ConfiguredMethod.of(method, self.values, self.preset)


@dataclass(frozen=True)
class MethodOptions(ConfigurationOptions):
    """A method, and the values of its fields."""

    method: Annotated[str | None, typer.Argument(help="module of the method, such as methods.sadvae")] = None

    def found(self) -> ConfiguredMethod:
        """Raises InputError where there is no method, or a value of its fields is wrong."""
        if self.method is None:
            raise InputError("give a METHOD, such as methods.sadvae, or --resume FOLDER")
        return self.configured(self.method)


@dataclass(frozen=True)
class EvaluationOptions:
    """How a configuration is validated and tested."""

    folds: Folds = FOLDS
    protocol: Annotated[
        Literal["clean", "both"],
        typer.Option(help="protocol of the test: clean, or both (also the released one, which leaks)"),
        Expected("clean, or both (clean and the papers' released, leaking one)"),
    ] = "both"
    allow_seen_extractor: AllowSeenExtractor = False

    def asked(self) -> "ProtocolOptions":
        """The released protocol needs the clean one's gate, so it is never run alone."""
        from platform.training.protocols import ProtocolOptions

        protocols = ("clean",) if self.protocol == "clean" else ("clean", "released")
        return ProtocolOptions(protocols=protocols, folds=self.folds)


@dataclass(frozen=True)
class PlaceOptions:
    """The device of a run, and the folder of its results."""

    device: Device = "auto"
    runs: Annotated[Path, typer.Option(help="folder of the runs and of MLflow's store")] = Path("runs")

    def new_folder(self, verb: str, what: str, dataset: str) -> Path:
        """A new folder's path, named by the run and the time."""
        stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
        folder = (self.runs / f"{verb}-{what.rpartition('.')[2]}-{dataset}-{stamp}").resolve()
        numbered = (folder.with_name(f"{folder.name}-{n}") for n in count(2))  # for one started within the same second
        return next(path for path in chain([folder], numbered) if not path.exists())


@dataclass(frozen=True)
class ClusterOptions(PlaceOptions):
    """Device and folder, on this machine or on a Ray cluster."""

    address: Address = None


@dataclass(frozen=True)
class WorkerOptions(ClusterOptions):
    """Device and folder, with one process or several workers."""

    workers: Annotated[int, typer.Option(min=1, help="data-parallel workers of Ray Train; with 1 this process")] = 1


def names(text: str | None) -> tuple[str, ...]:
    """Names from a comma-separated text."""
    return tuple(name.strip() for name in (text or "").split(",") if name.strip())


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


def dataset_and_split(dataset: Path | None, split: str | None) -> tuple[Dataset, str]:
    """A data folder and its split, each the default where it is not given. Raises InputError where one is wrong."""
    if dataset is None:
        dataset, split = default_dataset(), split or DEFAULT_SPLIT
    opened = Dataset(dataset)
    if split is None:
        if len(opened.splits) != 1:
            have = ", ".join(opened.splits) or "none of its own"
            raise InputError(f"--split is needed: {dataset} has {have}; one may also be drawn: {DRAWN_FORMS}")
        split = next(iter(opened.splits))
    opened.split(split)
    return opened, split


def named_features(dataset: Dataset, features: str | None) -> str:
    """A data folder's feature set by name, or its only one. Raises InputError where there are several and none named.

    There is no default among several: a search on the wrong one would cost hours and not be noticed.
    """
    sets = dataset.card.features
    if features is None and len(sets) > 1:
        have = "; ".join(f"{name} ({facts.extractor.partition(';')[0]})" for name, facts in sets.items())
        raise InputError(f"--features is needed: {dataset.folder} has {have}")
    return dataset.feature_set(features)


def resumed(context: typer.Context, folder: Path, file: str, without: str) -> tuple[Path, bytes]:
    """The folder of a resumed run, and its options, which are read from a file in it.

    without: the error where that file is missing. Raises InputError for that, and as `refuse_beside_resume` does.
    """
    refuse_beside_resume(context)
    if not (folder / file).exists():
        raise InputError(f"--resume {folder}: {without} (it has no {file})")
    return folder.resolve(), (folder / file).read_bytes()


def refuse_beside_resume(context: typer.Context) -> None:
    """Raise InputError where an option was given that a resumed run cannot take any more."""
    free = {"resume", "address", "concurrent", "workers", "as_json"}
    arguments = {"method": "the METHOD", "extractor": "EXTRACTOR"}
    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name)
        if parameter.name not in free and source is not None and source.name == "COMMANDLINE":
            shown = arguments.get(parameter.name, parameter.opts[0])
            raise InputError(f"--resume goes on with what was asked for then: leave {shown} out")
