"""Tables with a row a class: .csv, or a sheet of an .xlsx workbook."""

import csv
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from platform.datasets.readers.text_files import read_text
from platform.errors import InputError

INDEX_COLUMNS = ("index", "idx", "id")
_XLSX_FAULTS = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, SyntaxError)  # XML's is a SyntaxError


@dataclass(frozen=True)
class Table:
    """where: the file, and the sheet if it is one of several; columns: spelling to its cells, a row a class."""

    where: str
    columns: dict[str, list[str]]

    def column(self, names: Sequence[str]) -> list[str] | None:
        """The first of `names` that the table has, whatever its capitals."""
        spelling = {name.lower(): name for name in self.columns}
        return next((self.columns[spelling[n]] for n in names if n in spelling), None)


def read_table(path: Path, rows: int | None = None, sheet: str | None = None) -> Table:
    """A .csv file, or a sheet of an .xlsx workbook, in the order of its index column where it has one.

    sheet: by name; without one the workbook's only sheet, or the only one with as many `rows`. Raises InputError where
    there is no such sheet, no header or no row.
    """
    if path.suffix.lower() == ".xlsx":
        return _in_order(_read_sheet(path, rows, sheet))
    if sheet is not None:
        raise InputError(f"{path}#{sheet}: only an .xlsx workbook has sheets")
    lines = [line for line in csv.reader(read_text(path).splitlines()) if line]
    return _in_order(_table(str(path), lines))


def _table(where: str, lines: Sequence[Sequence[object]]) -> Table:
    """lines: the header, then the rows."""
    if len(lines) < 2:
        raise InputError(f"{where}: no rows; expected a header and a row a class")
    header = ["" if cell is None else str(cell).strip() for cell in lines[0]]
    cells = [["" if cell is None else str(cell).strip() for cell in line] for line in lines[1:]]
    named = [name for name in header if name]
    if len(set(named)) < len(named):
        raise InputError(f"{where}: two columns are called `{next(n for n in named if named.count(n) > 1)}`")
    columns = {name: [row[i] if i < len(row) else "" for row in cells] for i, name in enumerate(header) if name}
    if not columns:
        raise InputError(f"{where}: its first row is empty; expected the names of the columns")
    return Table(where, columns)


def _in_order(table: Table) -> Table:
    """The rows by the index column."""
    index = next((name for name in table.columns if name.lower() in INDEX_COLUMNS), None)
    if index is None:
        return table
    try:
        positions = [int(cell) for cell in table.columns[index]]
    except ValueError as error:
        raise InputError(
            f"{table.where}: column `{index}` holds something that is no whole number ({error})"
        ) from error
    first = min(positions)
    if first not in (0, 1) or sorted(positions) != list(range(first, first + len(positions))):
        raise InputError(f"{table.where}: column `{index}` must count the classes from 0 or from 1, each once")
    order = sorted(range(len(positions)), key=positions.__getitem__)
    return Table(table.where, {name: [cells[i] for i in order] for name, cells in table.columns.items()})


def _read_sheet(path: Path, rows: int | None, sheet: str | None) -> Table:
    try:
        from openpyxl import load_workbook
    except ImportError:
        raise InputError(
            f"{path}: reading .xlsx needs openpyxl; install the extra `text`: pip install -e .[text]"
        ) from None
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        workbook = load_workbook(path, read_only=True, data_only=True)
        sheets = {s.title: [line for line in s.iter_rows(values_only=True) if any(line)] for s in workbook.worksheets}
        workbook.close()
    except _XLSX_FAULTS as error:
        raise InputError(f"{path}: truncated, or no .xlsx workbook ({error})") from error
    fitting = list(sheets) if len(sheets) == 1 else [name for name, lines in sheets.items() if len(lines) - 1 == rows]
    name = sheet if sheet is not None else fitting[0] if len(fitting) == 1 else None
    if name not in sheets:
        have = ", ".join(f"{title} ({len(lines) - 1} rows)" for title, lines in sheets.items())
        asked = f"no sheet `{sheet}`" if sheet is not None else "choose a sheet"
        raise InputError(f"{path}: {asked}, as in {path.name}#SHEET; it has {have}")
    return _table(f"{path}#{name}", sheets[name])
