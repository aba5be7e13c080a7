"""`python -m platform.data`: bring data in, look at what is there, make the simulated data set."""

import shlex
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.progress import Progress, TaskID
from rich.table import Table

from platform import cli
from platform.datasets.contents import ClassSplit, Contents
from platform.datasets.folder import Dataset, FeatureSet, write_dataset
from platform.datasets.readers import LAYOUTS, ImportOptions, read
from platform.datasets.readers.options import Attributes, Locations, Modality
from platform.errors import InputError

_LAYOUTS_HELP = "; ".join(f"{name}: {layout.summary}" for name, layout in LAYOUTS.items())
_NAMES_SHOWN = 6

app = cli.application("Import a data set, look into a data folder, or make the simulated data set.")


@app.command("import")
def import_(
    layout: Annotated[str, typer.Argument(help=_LAYOUTS_HELP)],
    source: Annotated[Path, typer.Argument(help="The file or folder in that layout.")],
    folder: Annotated[Path, typer.Argument(help="The data folder to write; must not exist.")],
    name: Annotated[str | None, typer.Option(help="What to call the data set.")] = None,
    licence: Annotated[str | None, typer.Option(help="Under what terms it may be used.")] = None,
    provenance: Annotated[str | None, typer.Option("--source", help="Where it came from, for the card.")] = None,
    text: Annotated[
        list[str], typer.Option(metavar="[NAME=]FILE", help="Class text features, .npy (classes, T); repeatable.")
    ] = [],  # noqa: B006 (Typer reads it, nothing writes it)
    descriptions: Annotated[
        list[str],
        typer.Option(metavar="[NAME=]FILE", help="Texts of the classes: .txt, .csv, .json, .xlsx#SHEET; repeatable."),
    ] = [],  # noqa: B006
    parts_of_speech: Annotated[Path | None, typer.Option(help="Verb and noun of each class, .csv.")] = None,
    label_splits: Annotated[Path | None, typer.Option(help="Folder of ru5.npy, rs55.npy, rv5_0.npy.")] = None,
    class_list: Annotated[str | None, typer.Option(help="Published class order, as ntu60.")] = None,
    classes: Annotated[Path | None, typer.Option(help="Class names in label order: .txt or .csv.")] = None,
    features: Annotated[
        Path | None, typer.Option(help="xian, i3d: the features, where not res101.mat or i3d.mat.")
    ] = None,
    validation: Annotated[Path | None, typer.Option(help="synse: the validation folder, where not found.")] = None,
    extractor: Annotated[str | None, typer.Option(help="What the features came from, for the card.")] = None,
    modality: Annotated[Modality | None, typer.Option(help="What the samples are.")] = None,
    attributes: Annotated[Attributes | None, typer.Option(help="xian: which class attributes (att).")] = None,
    locations: Annotated[Locations | None, typer.Option(help="xian: trust the sample positions (use).")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Of a partition that is drawn (0).")] = None,
    partition: Annotated[
        str | None, typer.Option(help="ntu, pyskl, i3d: which of the official ones, as xsub, xview, xset or split_1.")
    ] = None,
    video_list: Annotated[
        Path | None, typer.Option(help="per_video: the videos and their classes, .txt or .jsonl; a partition is drawn.")
    ] = None,
    train_list: Annotated[
        Path | None, typer.Option(help="per_video: training videos, as trainlist01.txt; images: a path a line.")
    ] = None,
    test_list: Annotated[
        Path | None, typer.Option(help="per_video: test videos, as testlist01.txt; images: a path a line.")
    ] = None,
    images: Annotated[Path | None, typer.Option(help="xian: folder or .zip of the pictures, to keep pixels.")] = None,
    size: Annotated[int | None, typer.Option(min=1, help="images, xian: edge of the square pictures (256).")] = None,
    workers: Annotated[
        int | None, typer.Option(min=0, help="images, xian: processes that decode pictures; 0 for this one (0).")
    ] = None,
) -> None:
    """Turn files in a published layout into a data folder."""
    _refuse_existing(folder)
    options = ImportOptions(
        name=name,
        licence=licence,
        source=provenance,
        text=_named_files("--text", text),
        descriptions=_named_files("--descriptions", descriptions),
        parts_of_speech=parts_of_speech,
        label_splits=label_splits,
        class_list=class_list,
        classes=classes,
        features=features,
        validation=validation,
        extractor=extractor,
        modality=modality,
        attributes=attributes,
        locations=locations,
        seed=seed,
        partition=partition,
        video_list=video_list,
        train_list=train_list,
        test_list=test_list,
        images=images,
        size=size,
        workers=workers,
    )
    with Progress(console=cli.console, transient=True, disable=not cli.console.is_terminal) as progress:
        bar = progress.add_task(f"Reading {escape(str(source))}", total=None)
        report = partial(_report, progress, bar)
        contents = read(layout, source, replace(options, report=report))
    _write_and_say_next(contents, folder)


@app.command()
def info(
    folder: Annotated[Path, typer.Argument(help="A data folder.")],
    as_json: Annotated[bool, typer.Option("--json", help="One line of JSON.")] = False,
    verify: Annotated[bool, typer.Option(help="Compare every file with its checksum.")] = False,
) -> None:
    """Say what a data folder holds."""
    dataset = Dataset(folder)
    damaged = dataset.damaged() if verify else None
    if as_json:
        cli.event("dataset", _summary(dataset) | ({} if damaged is None else {"damaged": damaged}))
    else:
        _print_info(dataset)
    if damaged:
        raise InputError(f"{folder}: damaged: {', '.join(damaged)}; import the data again")
    if verify and not as_json:
        cli.console.print(f"All {len(dataset.card.checksums)} files are as they were written.")


@app.command()
def simulate(
    folder: Annotated[Path, typer.Argument(help="The data folder to write; must not exist.")] = Path("data/simulated"),
    seed: Annotated[int, typer.Option(min=0, help="Of every random number.")] = 0,
    subjects: Annotated[int, typer.Option(min=2, help="Simulated people; odd ones train.")] = 16,
    cameras: Annotated[int, typer.Option(min=1, help="Views of each performance.")] = 3,
    repetitions: Annotated[int, typer.Option(min=1, help="Performances of an action by each person.")] = 2,
) -> None:
    """Make the simulated data set, which needs no download. No person was recorded for it."""
    from platform.datasets import simulator  # here, because the other verbs need none of its tables

    _refuse_existing(folder)
    with cli.console.status("Simulating"):
        contents = simulator.simulate(seed=seed, subjects=subjects, cameras=cameras, repetitions=repetitions)
    _write_and_say_next(contents, folder)


def _report(progress: Progress, bar: TaskID, done: int, total: int) -> None:
    progress.update(bar, completed=done, total=total)


def _named_files(option: str, values: Sequence[str]) -> dict[str, Path]:
    """`NAME=FILE` or `FILE`, whose stem is then the name."""
    files = {}
    for value in values:
        name, separator, file = value.rpartition("=")
        name = name if separator else Path(file).stem
        if not name or "/" in name:
            raise InputError(f"{option} {value}: expected NAME=FILE, where NAME holds no slash")
        if name in files:
            raise InputError(f"{option} {value}: `{name}` is given twice; name one of them as in NAME=FILE")
        files[name] = Path(file)
    return files


def _refuse_existing(folder: Path) -> None:
    """Before the work, what `write_dataset` would refuse after it."""
    if folder.exists():
        raise InputError(f"{folder} exists already; choose another folder or remove it")


def _write_and_say_next(contents: Contents, folder: Path) -> None:
    with cli.console.status(f"Writing {escape(str(folder))}"):
        dataset = write_dataset(contents, folder)
    _print_info(dataset)
    if not dataset.card.features:
        cli.console.print("Next: extract features from its skeletons; they are not in a layout for pose descriptors")
        return
    split = next(iter({**contents.splits, **dataset.splits}), f"random:{max(1, len(dataset.classes) // 10)}:0")
    # which method learns from pixels is the user's to say: the platform knows methods by name alone
    method = "METHOD" if dataset.card.features[dataset.feature_set(None)].kind == "pixels" else "methods.sadvae"
    command = f"python -m platform.train {method} --dataset {shlex.quote(str(folder))} --split {split}"
    if len(dataset.card.features) > 1:
        command += f" --features {next(iter(dataset.card.features))}"
    cli.console.print(f"Next: {command}", soft_wrap=True, markup=False, highlight=False)


def _summary(dataset: Dataset) -> dict[str, object]:
    """The card without its checksums, and what stands beside it."""
    return dataset.card.model_dump(exclude={"checksums"}) | {
        "class_names": dataset.class_names,
        "texts": _texts(dataset),
        "embeddings": dataset.embedding_names,
        "splits": {name: split.model_dump() for name, split in dataset.splits.items()},
        "validation": None if dataset.validation is None else _summary(dataset.validation),
    }


def _print_info(dataset: Dataset) -> None:
    card = dataset.card
    facts = Table(show_header=False, box=None, pad_edge=False)
    rows = {
        "name": f"{card.name} ({card.modality})",
        "source": card.source,
        "licence": card.licence,
        "samples": f"{card.samples:,}: {card.train_samples:,} train, {card.samples - card.train_samples:,} test",
        "classes": f"{card.classes}: {_first(dataset.class_names)}",
        "class list": card.class_list or "none",
        "texts": ", ".join(_texts(dataset)),
        "embeddings": ", ".join(dataset.embedding_names) or "none",
        "logits": "of a seen-class classifier" if card.logits else "none",
        "skeletons": card.skeletons or "none",
        "validation": "features of its own" if dataset.validation else "none",
    }
    for what, value in rows.items():
        facts.add_row(what, escape(value))
    for number, note in enumerate(card.notes):
        facts.add_row("" if number else "notes", escape(note))
    sets = Table("feature set", "dimension", "normalise", "extractor")
    for name, feature_set in card.features.items():
        size = _size(feature_set)
        sets.add_row(escape(name), size, feature_set.normalise, escape(feature_set.extractor))
    if card.simulated:
        cli.console.print("[bold]SIMULATED: made by a program, no person was recorded[/bold]")
    cli.console.print(facts, sets, _split_table(dataset.splits))


def _size(feature_set: FeatureSet) -> str:
    if feature_set.kind == "pixels":
        return f"pixels, 3 x {feature_set.side} x {feature_set.side}"
    return str(feature_set.dimension)


def _texts(dataset: Dataset) -> list[str]:
    """What `--text` can choose from: what every class has."""
    parts = ["verb", "noun"] if all(c.verb for c in dataset.classes) else []
    sets = [name for name in dataset.classes[0].descriptions if all(c.descriptions.get(name) for c in dataset.classes)]
    return ["name", *parts, *sets]


def _split_table(splits: dict[str, ClassSplit]) -> Table:
    table = Table("split", "unseen", "pseudo-unseen", "unseen classes", "source")
    for name, split in splits.items():
        folds = " and ".join(str(len(fold)) for fold in split.pseudo_unseen) or "none"
        table.add_row(escape(name), str(len(split.unseen)), folds, escape(_first(split.unseen)), escape(split.source))
    return table


def _first(names: Sequence[str]) -> str:
    more = len(names) - _NAMES_SHOWN
    return ", ".join(names[:_NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")


if __name__ == "__main__":
    cli.run(app, "platform.data")
