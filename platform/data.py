"""`python -m platform.data`: bring data in, look at what is there, make the simulated data set."""

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
from platform.datasets.extractor_check import MARKS, Finding, findings
from platform.datasets.folder import Dataset, FeatureSet, write_dataset
from platform.datasets.readers import LAYOUTS, ImportOptions, read
from platform.datasets.readers.odd_files import OddFiles
from platform.errors import InputError
from platform.groups import grouped
from platform.next_step import next_step

_LAYOUTS_HELP = "; ".join(f"{name}: {layout.summary}" for name, layout in LAYOUTS.items())
_NAMES_SHOWN = 6

app = cli.application("Import a data set, look into a data folder, or make the simulated data set.")


@app.command("import")
@grouped
def import_(
    layout: Annotated[str, typer.Argument(help=_LAYOUTS_HELP)],
    path: Annotated[Path, typer.Argument(metavar="source", help="The file or folder in that layout.")],
    folder: Annotated[Path, typer.Argument(help="The data folder to write; must not exist.")],
    options: ImportOptions,
) -> None:
    """Turn files in a published layout into a data folder."""
    _refuse_existing(folder)
    with Progress(console=cli.console, transient=True, disable=not cli.console.is_terminal) as progress:
        bar = progress.add_task(f"Reading {escape(str(path))}", total=None)
        report = partial(_report, progress, bar)
        contents = read(layout, path, replace(options, report=report))
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
def references(
    folder: Annotated[Path, typer.Argument(help="A data folder.")],
    file: Annotated[Path, typer.Argument(help="CSV with the header sample,caption, or JSON: {sample: [captions]}.")],
) -> None:
    """Put reference captions of samples into a data folder, in place of former ones, to measure CIDEr against."""
    from platform.datasets.references import read_references
    from platform.datasets.revision import revised

    dataset = Dataset(folder)
    ids = dataset.ids.to_pylist()
    found = read_references(file, ids)
    revised(dataset, {}, references=found)
    cli.line(f"{sum(map(len, found)):,} captions of {sum(map(bool, found)):,} samples stand in {folder}")
    odd = OddFiles("samples")
    odd.add(
        "have no caption and do not count in CIDEr", *(name for name, own in zip(ids, found, strict=True) if not own)
    )
    for note in odd.notes():
        cli.say(note)


@app.command()
def simulate(
    folder: Annotated[Path, typer.Argument(help="The data folder to write; must not exist.")] = Path("data/simulated"),
    seed: Annotated[int, typer.Option(min=0, help="Seed of all random draws.")] = 0,
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


def _refuse_existing(folder: Path) -> None:
    """Check first what `write_dataset` would refuse at the end."""
    if folder.exists():
        raise InputError(f"{folder} exists already; choose another folder or remove it")


def _write_and_say_next(contents: Contents, folder: Path) -> None:
    with cli.console.status(f"Writing {escape(str(folder))}"):
        dataset = write_dataset(contents, folder)
    _print_info(dataset)
    for line in next_step(dataset, preferred=contents.splits):
        cli.line(line)


def _summary(dataset: Dataset) -> dict[str, object]:
    """The card without its checksums, and facts of the folder."""
    return dataset.card.model_dump(exclude={"checksums"}) | {
        "class_names": dataset.class_names,
        "texts": _texts(dataset),
        "embeddings": dataset.embedding_names,
        "splits": {name: split.model_dump() for name, split in dataset.splits.items()},
        "findings": {name: [f.said for f in found] for name, found in _findings(dataset).items()},
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
        "logits": f"of a classifier trained on {card.logits_trained_on.described()}"
        if card.logits_trained_on
        else ("of a seen-class classifier" if card.logits else "none"),
        "skeletons": card.skeletons or "none",
        "references": _references(dataset),
        "validation": "features of its own" if dataset.validation else "none",
    }
    for what, value in rows.items():
        facts.add_row(what, escape(value))
    for number, note in enumerate(card.notes):
        facts.add_row("" if number else "notes", escape(note))
    sets = Table("feature set", "dimension", "normalise", "extractor", "trained on")
    for name, feature_set in card.features.items():
        size = _size(feature_set)
        trained_on = escape(feature_set.trained_on.described())
        sets.add_row(escape(name), size, feature_set.normalise, escape(feature_set.extractor), trained_on)
    if card.simulated:
        cli.console.print("[bold]SIMULATED: made by a program, no person was recorded[/bold]")
    cli.console.print(facts, sets, _split_table(dataset.splits))
    for name, found in _findings(dataset).items():
        for finding in found:
            cli.console.print(f"{MARKS[finding.kind]} {name}: {finding.said}", markup=False, highlight=False)


def _references(dataset: Dataset) -> str:
    if (captions := dataset.references) is None:
        return "none"
    return f"{sum(map(len, captions)):,} captions of {sum(map(bool, captions)):,} samples"


def _findings(dataset: Dataset) -> dict[str, list[Finding]]:
    """Why the feature sets are not clean, grouped by splits with the same reasons."""
    if not dataset.card.features:
        return {}
    by_said: dict[Finding, list[str]] = {}
    for name, split in dataset.splits.items():
        for finding in findings(dataset, split, list(dataset.card.features)):
            by_said.setdefault(finding, []).append(name)
    found: dict[str, list[Finding]] = {}
    for finding, names in by_said.items():
        found.setdefault(f"split{'s' * (len(names) > 1)} {', '.join(names)}", []).append(finding)
    return found


def _size(feature_set: FeatureSet) -> str:
    if feature_set.kind in ("pixels", "pictures"):
        return f"{feature_set.kind}, 3 x {feature_set.side} x {feature_set.side}"
    if feature_set.kind == "frames":
        return f"{feature_set.frames} frames, 3 x {feature_set.side} x {feature_set.side}"
    return str(feature_set.dimension)


def _texts(dataset: Dataset) -> list[str]:
    """The class texts that `--text` can choose from: those that every class has."""
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
