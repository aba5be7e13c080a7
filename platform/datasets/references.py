"""Reference captions of a data folder's samples, against which a model's captions are measured.

A file of them is a CSV table with the header `sample,caption`, a caption a line, or JSON, {sample: [captions]}; samples
are named as the data folder names them.
"""

import csv
import json
from collections.abc import Iterator, Sequence
from functools import partial
from io import StringIO
from pathlib import Path

from platform.errors import InputError

_FORMS = "a CSV table with the header `sample,caption`, or JSON, {sample: [captions]}"


def read_references(path: Path, ids: Sequence[str]) -> list[list[str]]:
    """The captions of each sample, in the order of `ids`; none of a sample that the file does not name.

    Raises InputError where the file cannot be read, is of another form or not UTF-8, has an empty caption, names a
    sample that is not among `ids`, or names one twice as JSON.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 (byte {error.start}); write references as UTF-8") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); give {_FORMS}") from None
    pairs = _of_json(path, text) if path.suffix.lower() == ".json" else _of_table(path, text)
    found: dict[str, list[str]] = {name: [] for name in ids}
    unknown: dict[str, None] = {}
    for where, sample, caption in pairs:
        if not caption.strip():
            raise InputError(f"{where}: an empty caption of sample `{sample}`; leave the sample out, or describe it")
        if sample in found:
            found[sample].append(caption.strip())
        else:
            unknown[sample] = None
    if unknown:
        more = f", and {len(unknown) - 1} more" if len(unknown) > 1 else ""
        example = f"; samples are named as `{ids[0]}` is" if ids else ""
        raise InputError(f"{path}: no sample `{next(iter(unknown))}` in the data folder{more}{example}")
    if not any(found.values()):
        raise InputError(f"{path}: has no caption; give {_FORMS}")
    return list(found.values())


def _of_table(path: Path, text: str) -> Iterator[tuple[str, str, str]]:
    """Where each caption stands, its sample, and the caption."""
    rows = _rows(path, text)
    _, first = next(rows, (0, []))
    header = [name.strip().lower() for name in first]
    if header != ["sample", "caption"]:
        raise InputError(f"{path}: begins with `{','.join(header)}`; expected {_FORMS}")
    for line, row in rows:
        if len(row) != 2:
            if not row:
                continue
            raise InputError(f"{path}, line {line}: {len(row)} columns; expected sample,caption (quote commas)")
        yield f"{path}, line {line}", row[0].strip(), row[1]


def _rows(path: Path, text: str) -> Iterator[tuple[int, list[str]]]:
    """The rows of a table, and the line of each; a quote that is never closed would hide those after it."""
    rows = csv.reader(StringIO(text, newline=""), strict=True)
    try:
        for row in rows:
            yield rows.line_num, row
    except csv.Error as error:
        raise InputError(f"{path}, line {rows.line_num}: no CSV ({error}); expected {_FORMS}") from None


def _of_json(path: Path, text: str) -> Iterator[tuple[str, str, str]]:
    try:
        told = json.loads(text, object_pairs_hook=partial(_named_once, path))
    except json.JSONDecodeError as error:
        raise InputError(f"{path}: no JSON (line {error.lineno}: {error.msg}); expected {_FORMS}") from None
    except RecursionError:
        raise InputError(f"{path}: nested too deeply; expected {_FORMS}") from None
    if not isinstance(told, dict):
        raise InputError(f"{path}: holds a {type(told).__name__}; expected {_FORMS}")
    for sample, captions in told.items():
        if not isinstance(captions, list) or not all(isinstance(caption, str) for caption in captions):
            raise InputError(f"{path}: sample `{sample}`: expected a list of captions, as {{sample: [captions]}}")
        for caption in captions:
            yield str(path), sample, caption


def _named_once(path: Path, pairs: Sequence[tuple[str, object]]) -> dict[str, object]:
    """JSON's own reading keeps the last of two values of the same name."""
    found: dict[str, object] = {}
    for name, value in pairs:
        if name in found:
            raise InputError(f"{path}: sample `{name}` stands there twice; give all its captions in one list")
        found[name] = value
    return found
