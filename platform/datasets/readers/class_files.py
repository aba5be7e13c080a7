"""What users' files say of the classes: names, descriptions and text features."""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from platform.datasets.readers.arrays import as_matrix, load_npy
from platform.datasets.splits import published_class_lists
from platform.errors import InputError

_INDEX_COLUMNS = ("index", "idx", "id")
_NAME_COLUMNS = ("name", "label", "class")
_TEXT_COLUMNS = ("description", "text", "definition", "label", "name")


def class_names(classes: Path | None, class_list: str | None) -> list[str]:
    """The class names in label order: from a file (.txt, one a line, or .csv), or those of a published class list."""
    known = published_class_lists()
    if class_list is not None and class_list not in known:
        raise InputError(f"--class-list `{class_list}` is not built in; choose one of {', '.join(known)}")
    if classes is not None:
        names = _read_lines(classes) if classes.suffix == ".txt" else _read_column(classes, _NAME_COLUMNS)
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


def descriptions(path: Path, names: Sequence[str]) -> list[str]:
    """One text a class, in the order of `names`: .txt (one a line), .csv, or .json, a list of {word, defn}."""
    if path.suffix == ".json":
        texts = _read_definitions(path, names)
    elif path.suffix == ".txt":
        texts = _read_lines(path)
    else:
        texts = _read_column(path, _TEXT_COLUMNS)
    if len(texts) != len(names):
        raise InputError(f"{path}: {len(texts)} descriptions for {len(names)} classes; one a class is expected")
    return texts


def text_features(files: Mapping[str, Path], classes: int) -> dict[str, np.ndarray]:
    """Class embeddings by name, each (classes, T)."""
    return {name: as_matrix(str(path), load_npy(path), rows=classes) for name, path in files.items()}


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: no UTF-8 text ({error.reason} at byte {error.start})") from error


def _read_lines(path: Path) -> list[str]:
    return [line.strip() for line in _read_text(path).rstrip().split("\n")]


def _read_column(path: Path, columns: Sequence[str]) -> list[str]:
    """The first of `columns` that the CSV has, in the order of its index column where it has one."""
    rows = list(csv.DictReader(_read_text(path).splitlines()))
    if not rows:
        raise InputError(f"{path}: no rows; expected a header and a row a class")
    spelling = {(key or "").strip().lower(): key for key in rows[0]}
    column = next((spelling[c] for c in columns if c in spelling), None)
    if column is None:
        raise InputError(f"{path}: columns {', '.join(spelling)}; one of {', '.join(columns)} is expected")
    index = next((spelling[c] for c in _INDEX_COLUMNS if c in spelling), None)
    texts = [(row[column] or "").strip() for row in rows]
    if index is None:
        return texts
    try:
        positions = [int(row[index]) for row in rows]
    except (TypeError, ValueError) as error:
        raise InputError(f"{path}: column `{index}` holds something that is no whole number ({error})") from error
    first = min(positions)
    if first not in (0, 1) or sorted(positions) != list(range(first, first + len(rows))):
        raise InputError(f"{path}: column `{index}` must count the classes from 0 or from 1, each once")
    return [text for _, text in sorted(zip(positions, texts, strict=True))]


def _read_definitions(path: Path, names: Sequence[str]) -> list[str]:
    try:
        records = json.loads(_read_text(path))
        by_word = {record["word"]: record["defn"] for record in records}
    except (json.JSONDecodeError, TypeError, KeyError) as error:
        raise InputError(f"{path}: expected a JSON list of {{word, defn}} ({error})") from error
    missing = [name for name in names if name not in by_word]
    if missing:
        raise InputError(f"{path}: no definition of class `{missing[0]}`; every class needs its `word`")
    return [by_word[name] for name in names]
