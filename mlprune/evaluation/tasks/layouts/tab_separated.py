"""Published tables with columns separated by tabs, whose quotes are bare in some files and enclose values in others.

Also the beginnings of files in other formats, by which layouts recognise them.
"""

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from mlprune.corpus.row_files import parquet_columns
from mlprune.corpus.text_files import open_text, read_lines
from mlprune.errors import CorpusError, TaskFileError
from mlprune.evaluation.tasks.items import SKIPPED, Row
from mlprune.json_values import JsonValue, parse_json


def tab_separated(path: Path) -> list[list[str]]:
    """Return the cells of each line that is not empty, without the quotes that enclose values.

    Quotes enclose values if the file is as a writer of CSV leaves it: every cell with a quote begins and ends with one
    and doubles those inside, or all cells are enclosed. In other files quotes are characters of the text.

    Raises:
        CorpusError: the file cannot be read.
    """
    lines = [line for line in read_lines(path) if line]
    rows = [line.split("\t") for line in lines]
    cells_with_quotes = [cell for row in rows for cell in row if '"' in cell]
    if cells_with_quotes and (
        all(map(_doubles_quotes, cells_with_quotes)) or all(map(_is_enclosed, (cell for row in rows for cell in row)))
    ):
        return list(csv.reader(lines, delimiter="\t"))
    return rows


def _is_enclosed(cell: str) -> bool:
    return len(cell) > 1 and cell[0] == cell[-1] == '"' and '"' not in cell[1:-1].replace('""', "")


def _doubles_quotes(cell: str) -> bool:
    return _is_enclosed(cell) and '""' in cell[1:-1]


def first_cells(path: Path, n_rows: int = 1) -> list[list[str]]:
    """Return the cells of the first lines, or of fewer if the file is shorter or cannot be read."""
    rows: list[list[str]] = []
    try:
        with open_text(path) as text:
            for _, line in zip(range(n_rows), text, strict=False):
                rows.append(line.rstrip("\r\n").split("\t"))
    except CorpusError:
        return rows
    return rows


def first_object(path: Path) -> Mapping[str, JsonValue]:
    """Return the first line of a file of JSON lines; empty if it is not an object."""
    try:
        with open_text(path) as text:
            value = parse_json(text.readline())
    except (CorpusError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def first_columns(path: Path) -> tuple[str, ...]:
    """Return the columns of a Parquet file; none if it is not one."""
    try:
        return tuple(parquet_columns(path))
    except CorpusError:
        return ()


def cells(row: Sequence[str], n: int, *, line: int) -> Sequence[str]:
    """Return the first cells of a row.

    Raises:
        TaskFileError: it has fewer.
    """
    if len(row) < n:
        raise TaskFileError("a row has too few cells", line=line, expected=n, got=len(row))
    return row[:n]


def marked_skipped(rows: Iterable[Row | None], *, what: str) -> list[Row]:
    """Return rows in which each None is replaced by a row that says why it is skipped."""
    return [{SKIPPED: what} if row is None else row for row in rows]
