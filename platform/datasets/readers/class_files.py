"""What users' files say of the classes: names, descriptions and text features."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from platform.datasets.class_spelling import positions
from platform.datasets.parts_of_speech import PartsOfSpeech
from platform.datasets.readers.arrays import as_matrix, load_npy
from platform.datasets.readers.tables import INDEX_COLUMNS, Table, read_table
from platform.datasets.readers.text_files import read_text
from platform.datasets.splits import published_class_lists
from platform.errors import InputError

_NAME_COLUMNS = ("name", "label", "class", "action labels")
_DESCRIPTION_COLUMNS = ("description", "text", "definition")
_NTU120 = 120
# for a card: UCF101's own numbers, for one, swap some neighbours of the published order
PUBLISHED_ORDER_NOTE = "no class names beside the labels: they are taken to count the class list in its published order"


def class_names(classes: Path | None, class_list: str | None) -> list[str]:
    """The class names in label order: from a file (.txt, one a line, or .csv), or those of a published class list."""
    known = published_class_lists()
    if class_list is not None and class_list not in known:
        raise InputError(f"--class-list `{class_list}` is not built in; choose one of {', '.join(known)}")
    if classes is not None:
        names = _read_lines(classes) if classes.suffix == ".txt" else _read_names(classes)
        if class_list is not None and len(names) != known[class_list]["count"]:
            count = known[class_list]["count"]
            raise InputError(f"{classes}: {len(names)} classes, but the class list `{class_list}` has {count}")
        return names
    if class_list is None or known[class_list]["classes"] is None:
        raise InputError(
            "these files hold no class names: give them with --classes FILE (.txt, one a line in label order, or .csv "
            f"with a name column), or name a published order with --class-list ({', '.join(known)})"
        )
    return known[class_list]["classes"]


def description_sets(
    name: str, path: Path, names: Sequence[str], class_list: str | None = None
) -> dict[str, list[list[str]]]:
    """Texts of the classes, in the order of `names`, by description set: (classes, texts).

    .txt has one text a line, .json is a list of {word, defn} in which a class is found whatever the spelling of its
    name; both give the set `name`. So does a .csv table or a sheet of an .xlsx workbook (FILE.xlsx#SHEET) with a column
    of descriptions. Where it has other columns beside the names, as one a body part, each is a set of its own,
    `name.COLUMN`, and `name` is all of them. A file for NTU RGB+D 120 serves NTU RGB+D too, which is its first 60
    classes.
    """
    file, _, sheet = path.name.partition("#")
    path = path.with_name(file)
    if path.suffix == ".json":
        return {name: [[text] for text in _read_definitions(path, names)]}
    if path.suffix == ".txt":
        return {name: [[text] for text in _fitting(str(path), _read_lines(path), names, class_list)]}
    table = read_table(path, len(names), sheet or None)
    columns = _text_columns(table)
    texts = [_fitting(table.where, cells, names, class_list) for cells in columns.values()]
    for column, cells in zip(columns, texts, strict=True):
        if "" in cells:
            raise InputError(f"{table.where}: column `{column}` is empty for class `{names[cells.index('')]}`")
    every = {name: [list(several) for several in zip(*texts, strict=True)]}
    if len(columns) == 1:
        return every
    singles = {f"{name}.{_slug(column)}": [[t] for t in cells] for column, cells in zip(columns, texts, strict=True)}
    if len(singles) < len(columns):
        raise InputError(f"{table.where}: two of its columns {', '.join(columns)} have the same name")
    return every | singles


def parts_of_speech(path: Path, names: Sequence[str]) -> list[PartsOfSpeech]:
    """Of each class, in the order of `names`, from a table with the columns verb and noun; an empty noun is none."""
    table = read_table(path, len(names))
    verbs, nouns = (table.column([column]) for column in ("verb", "noun"))
    if verbs is None or nouns is None:
        raise InputError(f"{path}: columns {', '.join(table.columns)}; `verb` and `noun` are expected")
    if len(verbs) != len(names):
        raise InputError(f"{path}: {len(verbs)} rows for {len(names)} classes; one a class is expected")
    if "" in verbs:
        raise InputError(f"{path}: no verb for class `{names[verbs.index('')]}`; only a noun may be left empty")
    return [PartsOfSpeech(verb, noun or None) for verb, noun in zip(verbs, nouns, strict=True)]


def _text_columns(table: Table) -> dict[str, list[str]]:
    """The columns that describe: the one that says so, else all but the names, else the names."""
    own = table.column(_DESCRIPTION_COLUMNS)
    if own is not None:
        return {"description": own}
    names = table.column(_NAME_COLUMNS)
    known = (*_NAME_COLUMNS, *INDEX_COLUMNS)
    others = {name: cells for name, cells in table.columns.items() if name.lower() not in known}
    if not others and names is None:
        expected = ", ".join((*_DESCRIPTION_COLUMNS, *_NAME_COLUMNS))
        raise InputError(f"{table.where}: columns {', '.join(table.columns)}; one of {expected} is expected")
    return others or {"name": names}


def _fitting(where: str, texts: list[str], names: Sequence[str], class_list: str | None) -> list[str]:
    if class_list == "ntu60" and len(texts) == _NTU120:
        return texts[: len(names)]
    if len(texts) != len(names):
        raise InputError(f"{where}: {len(texts)} descriptions for {len(names)} classes; one a class is expected")
    return texts


def _slug(column: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", column.lower()).strip("-")


def text_features(files: Mapping[str, Path], classes: int) -> dict[str, np.ndarray]:
    """Class embeddings by name, each (classes, T)."""
    return {name: as_matrix(str(path), load_npy(path), rows=classes) for name, path in files.items()}


def _read_lines(path: Path) -> list[str]:
    return [line.strip() for line in read_text(path).rstrip().split("\n")]


def _read_names(path: Path) -> list[str]:
    table = read_table(path)
    names = table.column(_NAME_COLUMNS)
    if names is None:
        raise InputError(f"{path}: columns {', '.join(table.columns)}; one of {', '.join(_NAME_COLUMNS)} is expected")
    return names


def _read_definitions(path: Path, names: Sequence[str]) -> list[str]:
    try:
        records = json.loads(read_text(path))
        by_word = {record["word"]: record["defn"] for record in records}
    except (json.JSONDecodeError, TypeError, KeyError) as error:
        raise InputError(f"{path}: expected a JSON list of {{word, defn}} ({error})") from error
    words = list(by_word)
    found = positions(names, words)
    if None in found:
        raise InputError(f"{path}: no definition of class `{names[found.index(None)]}`; every class needs its `word`")
    return [by_word[words[i]] for i in found]
