"""Tables of task files: rows of TSV, CSV, JSON and Parquet by the names or positions of their columns."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from mlprune.corpus.text_files import delimited_format, read_cells, read_json, read_rows
from mlprune.descriptions import Column, Columns, Skip
from mlprune.errors import CorpusError, TaskFileError, repeated
from mlprune.evaluation.tasks.answers import as_list
from mlprune.evaluation.tasks.items import Row, is_blank
from mlprune.evaluation.tasks.layouts.layout import numbered_cells
from mlprune.json_values import JsonObject, JsonValue, as_object, as_str
from mlprune.json_values import as_list as as_items
from mlprune.vocabulary import DELIMITED_SUFFIXES, JSON_SUFFIXES, SUFFIXES

TAB = "\t"
PARAGRAPHS = "paragraphs"
"""Key of an article in the format of SQuAD."""
_MISSING: Final = object()
"""Value of a column that a row lacks."""


class Table(NamedTuple):
    """The rows of a table."""

    rows: list[Row]
    lines: Sequence[int] = ()
    """Line of each row, or its last one, from 1; empty if rows are not lines."""
    delimiter: str | None = None
    """Delimiter of its columns; None if its rows have keys."""


def table_rows(path: Path, *, has_header: bool = True) -> list[Row]:
    """Return the rows of a table; raises as `read_table` does."""
    return read_table(path, has_header=has_header).rows


def read_table(path: Path, *, has_header: bool = True, delimiter: str | None = None) -> Table:
    """Read a table; without a header, keys are the positions of the columns as texts, from 0.

    Quotes enclose values in `.csv` and between other delimiters than tabs, and in `.tsv` as `tab_separated` finds out.

    Args:
        delimiter: delimiter of a `.tsv` or `.csv` file, if it is not the usual one.
    Raises:
        CorpusError: the file cannot be read.
        TaskFileError: the header names a column twice, a row has another number of cells, or a file of another kind
            has no header or a delimiter.
    """
    if not path.name.endswith(DELIMITED_SUFFIXES):
        if not has_header or delimiter:
            message, expected = "the columns of this file have names", "columns by name, without a delimiter"
            got = {"delimiter": delimiter} if has_header else "columns by position"
            raise TaskFileError(message, file=str(path), expected=expected, got=got)
        return _keyed_rows(path)
    usual, is_csv = delimited_format(path)
    used = delimiter or usual
    has_bare_quotes = used == TAB and not is_csv
    table = numbered_cells(path) if has_bare_quotes else list(read_cells(path, delimiter=used, quoted=True))
    if not table:
        return Table([], (), used)
    (line, first), others = table[0], table[1:] if has_header else table
    header = first if has_header else [str(place) for place in range(len(first))]
    if repeats := repeated(header):
        place = {"file": str(path), "line": line, "delimiter": used}
        raise TaskFileError(
            "a table has no usable header", place, expected="different names", got=header, twice=repeats
        )
    for line, cells in others:
        if len(cells) != len(header):
            place = {"file": str(path), "line": line, "delimiter": used}
            names = ", ".join(header) if has_header else "as in the first row"
            expected = f"{len(header)} cells: {names}"
            raise TaskFileError("a row has another number of cells", place, expected=expected, got=len(cells))
    rows: list[Row] = [dict(zip(header, cells, strict=True)) for _, cells in others]
    return Table(rows, [line for line, _ in others], used)


def _keyed_rows(path: Path) -> Table:
    """Read a file whose rows have keys."""
    if path.name.endswith(JSON_SUFFIXES):
        rows, has_lines = read_json(path)
    else:
        rows, has_lines = read_rows(path), path.name.endswith(SUFFIXES) and path.suffix != ".parquet"
    if rows and not has_lines and all(PARAGRAPHS in row for row in rows):
        return Table([*squad_questions(rows, file=str(path))])
    return Table(list(rows), range(1, len(rows) + 1) if has_lines else ())


def squad_questions(articles: Iterable[JsonValue], *, file: str) -> Iterator[JsonObject]:
    """Yield the questions of articles in the format of SQuAD (Rajpurkar et al., arXiv:1606.05250).

    A row has the keys of the question, such as `id`, `question` and `answers`, and the `context` of its paragraph.

    Raises:
        CorpusError: an article has another form.
    """
    try:
        for article in articles:
            for paragraph in map(as_object, as_items(as_object(article)[PARAGRAPHS])):
                for question in map(as_object, as_items(paragraph["qas"])):
                    yield {**question, "context": as_str(paragraph["context"])}
    except (KeyError, TypeError, ValueError) as err:
        raise CorpusError("a file is not in the format of SQuAD", file=file, reason=repr(err)) from err


def are_positions(columns: Columns) -> bool:
    """Whether columns are given by their positions, so that the table has no header."""
    return any(isinstance(each, int) for _, column in columns for each in _parts(column))


def _parts(column: Column) -> tuple[str | int, ...]:
    return column if isinstance(column, tuple) else (column,)


def column_value(row: Row, column: Column) -> object:
    """Return the value of a column; of several columns a list, without empty ones at the end; of a list of one column
    the list that the column has.

    A name such as `question.choices.text` is a key inside objects; of a list of objects, it gives all their values.

    Raises:
        TaskFileError: the row lacks a column, or a cell is not the list that it should be.
    """
    names = [str(each) for each in _parts(column)]
    values = [_value_at(row, name) for name in names]
    missing = [name for name, value in zip(names, values, strict=True) if value is _MISSING]
    if missing:
        raise TaskFileError("a row lacks columns", expected=names, got=list(row), missing=missing)
    if not isinstance(column, tuple):
        return values[0]
    if len(values) == 1:
        listed = as_list(values[0])
        if isinstance(listed, str) and listed.lstrip().startswith("["):
            raise TaskFileError("a cell is not a list", column=names[0], expected='such as ["a", "b"]', got=listed)
        return listed
    while values and is_blank(values[-1]):
        values.pop()
    return values


def has_column(row: Row, column: Column) -> bool:
    """Whether a row has a column, or the first of several."""
    return _value_at(row, str(_parts(column)[0])) is not _MISSING


def _value_at(value: object, path: str) -> object:
    """Return the value at a path of keys; `_MISSING` if there is none. The last key may contain dots itself."""
    if isinstance(value, list):
        values = [_value_at(each, path) for each in value]
        return _MISSING if _MISSING in values else values
    if not isinstance(value, Mapping):
        return _MISSING
    if path in value:
        return value[path]
    key, _, others = path.partition(".")
    return _value_at(value[key], others) if others and key in value else _MISSING


def skip_reason(row: Row, skip: Skip) -> str:
    """Return the value for which a row is left out, as text; an empty text if it is not left out.

    Raises:
        TaskFileError: the row lacks a column.
    """
    for column, values in skip:
        cell = _as_cell(column_value(row, column))
        if cell in map(_as_cell, values):
            return f"{column} is {cell or 'empty'}"
    return ""


def _as_cell(value: object) -> str:
    """Return a value as a table has it."""
    return "" if value is None else str(value)


def example_id(row: Row, columns: Sequence[str | int], *, number: int) -> object:
    """Return the id of a row: the value of a column, those of several joined by `#`, or without one its number."""
    values = [column_value(row, column) for column in columns]
    if len(values) > 1:
        return "#".join(map(str, values))
    return values[0] if values else number
