"""Tables of task files: rows of TSV, CSV, JSON lines and Parquet by the names or positions of their columns."""

from collections.abc import Sequence
from pathlib import Path

from mlprune.corpus.text_files import delimited_format, read_cells, read_rows
from mlprune.descriptions import Column, Columns
from mlprune.errors import TaskFileError
from mlprune.evaluation.tasks.answers import as_list
from mlprune.evaluation.tasks.items import Row, is_blank
from mlprune.evaluation.tasks.layouts.layout import tab_separated
from mlprune.vocabulary import DELIMITED_SUFFIXES


def table_rows(path: Path, *, has_header: bool = True) -> list[Row]:
    """Return the rows of a table; without a header, keys are the positions of the columns as texts, from 0.

    Quotes enclose values in `.csv`, and in `.tsv` as `tab_separated` finds out.

    Raises:
        CorpusError: the file cannot be read.
        TaskFileError: the header names a column twice, a row has another number of cells, or a file of another kind
            has no header.
    """
    if not path.name.endswith(DELIMITED_SUFFIXES):
        if not has_header:
            message, expected = "the columns of this file have names", "columns by name"
            raise TaskFileError(message, file=str(path), expected=expected, got="columns by position")
        return list(read_rows(path))
    delimiter, is_csv = delimited_format(path)
    table = [row for _, row in read_cells(path, delimiter=delimiter, quoted=True)] if is_csv else tab_separated(path)
    if not table:
        return []
    header = table[0] if has_header else [str(place) for place in range(len(table[0]))]
    if len(set(header)) < len(header):
        raise TaskFileError("a table has no usable header", file=str(path), expected="different names", got=header)
    return [_named(header, row, number) for number, row in enumerate(table[1:] if has_header else table, start=1)]


def _named(header: Sequence[str], row: Sequence[str], number: int) -> Row:
    if len(row) != len(header):
        expected = f"{len(header)} cells"
        raise TaskFileError("a row has another number of cells", row=number, expected=expected, got=len(row))
    return dict(zip(header, row, strict=True))


def are_positions(columns: Columns) -> bool:
    """Whether columns are given by their positions, so that the table has no header."""
    return any(isinstance(each, int) for _, column in columns for each in _parts(column))


def _parts(column: Column) -> tuple[str | int, ...]:
    return column if isinstance(column, tuple) else (column,)


def column_value(row: Row, column: Column) -> object:
    """Return the value of a column; of several columns a list, without empty ones at the end; of a list of one column
    the list that the column has.

    Raises:
        TaskFileError: the row lacks a column.
    """
    names = [str(each) for each in _parts(column)]
    missing = [name for name in names if name not in row]
    if missing:
        raise TaskFileError("a row lacks columns", expected=names, got=sorted(row), missing=missing)
    values = [row[name] for name in names]
    if not isinstance(column, tuple):
        return values[0]
    if len(values) == 1:
        return as_list(values[0])
    while values and is_blank(values[-1]):
        values.pop()
    return values


def example_id(row: Row, columns: Sequence[str | int], *, number: int) -> object:
    """Return the id of a row: the value of a column, those of several joined by `#`, or without one its number."""
    values = [column_value(row, column) for column in columns]
    if len(values) > 1:
        return "#".join(map(str, values))
    return values[0] if values else number
