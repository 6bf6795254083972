"""The first rows of a table of any size: bounded in bytes, whatever the file contains."""

import codecs
import csv
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from mlprune.corpus.parquet_files import first_parquet_rows, parquet_columns
from mlprune.corpus.text_files import READ_ERRORS, arrays_of_objects, delimited_format, open_binary
from mlprune.errors import CorpusError
from mlprune.evaluation.tasks.items import Row
from mlprune.evaluation.tasks.tables import PARAGRAPHS
from mlprune.vocabulary import DELIMITED_SUFFIXES, JSON_SUFFIXES

HEAD_BYTES = 1 << 18
"""Decompressed bytes that are read of a file."""
MOST_ROWS = 500
MOST_COLUMNS, MOST_CHARACTERS = 200, 60
"""Most columns that are looked at, and the longest name of one."""
MOST_SPACES = 4
"""Spaces from which a cell of a first line is a sentence instead of the name of a column."""
SQUAD_PAGE = "docs/data.md#published-files-by-a-declaration"
DELIMITERS = (",", ";", "\t", "|")
N_PARSED = 20
"""Rows by which a delimiter is recognised."""


@dataclass(frozen=True)
class TableHead:
    """The first rows of a table."""

    columns: tuple[str, ...] = ()
    """Names, or positions from 0 if the table has no header."""
    rows: tuple[Row, ...] = ()
    delimiter: str = ""
    """The delimiter if it is not that of the file's ending."""
    has_header: bool = True
    is_array: bool = False
    """Whether the file is one JSON array instead of an object per line."""
    problem: str = ""
    """Why nothing could be read; empty if there are rows."""


def read_head(path: Path) -> TableHead:
    """Read the first rows of a table, or state why they cannot be read."""
    try:
        if path.name.endswith(".parquet"):
            return _named(parquet_columns(path), first_parquet_rows(path, MOST_ROWS))
        text = _first_text(path)
    except CorpusError as err:
        return TableHead(problem=str(err))
    except UnicodeDecodeError:
        return TableHead(problem="the file is not UTF-8")
    except READ_ERRORS as err:
        return TableHead(problem=str(err))
    if not text:
        return TableHead(problem=f"the file is empty, or its first line has more than {HEAD_BYTES >> 10} KiB")
    return _delimited(path, text) if path.name.endswith(DELIMITED_SUFFIXES) else _objects_head(path, text)


def _first_text(path: Path) -> str:
    """Return the first lines of a file, complete ones unless it has only one."""
    with open_binary(path) as file:
        data = file.read(HEAD_BYTES + 1)
    is_cut = len(data) > HEAD_BYTES
    text = codecs.getincrementaldecoder("utf-8-sig")().decode(data, final=not is_cut)
    return text[: text.rfind("\n") + 1] if is_cut else text


def _objects_head(path: Path, text: str) -> TableHead:
    rows = list(_objects(text))
    if not rows:
        return TableHead(problem="no JSON object at its start")
    is_object = len(rows) == 1 and path.name.endswith(JSON_SUFFIXES)
    arrays = arrays_of_objects(rows[0].values()) if is_object else []
    if len(arrays) == 1:  # as `read_json` reads a file with one object
        rows = cast("list[Row]", arrays[0][:MOST_ROWS])
    if all(PARAGRAPHS in row for row in rows):
        return TableHead(problem=f"it is in the format of SQuAD: {SQUAD_PAGE} has a task for it, mlqa")
    columns = dict.fromkeys(key for row in rows for key in row)
    return _named(list(columns), rows, is_array=len(arrays) == 1 or text.lstrip().startswith("["))


def _objects(text: str) -> Iterator[Row]:
    """Yield the first objects of JSON lines, or of an array; values that are cut off end them."""
    decoder, place = json.JSONDecoder(), 0
    for _ in range(MOST_ROWS):
        while place < len(text) and text[place] in " \t\r\n,[":
            place += 1
        try:
            value, place = decoder.raw_decode(text, place)
        except (ValueError, RecursionError):
            return
        if not isinstance(value, dict):
            return
        yield value


def _named(columns: Sequence[str], rows: Sequence[Row], *, is_array: bool = False) -> TableHead:
    shown = tuple(name for name in columns if name.isprintable() and len(name) <= MOST_CHARACTERS)[:MOST_COLUMNS]
    return TableHead(shown, tuple(rows), is_array=is_array, problem="" if rows else "the table has no rows")


def _delimited(path: Path, text: str) -> TableHead:
    usual, _ = delimited_format(path)
    tables = {delimiter: _cells(text, delimiter) for delimiter in dict.fromkeys((usual, *DELIMITERS))}
    delimiter = next((each for each, table in tables.items() if _is_table(table)), usual)
    table = tables[delimiter]
    if not table:
        return TableHead(problem="no rows with cells")
    header, has_header = table[0], _is_header(table)
    names = header if has_header else [str(place) for place in range(len(header))]
    rows = [dict(zip(names, cells, strict=False)) for cells in table[has_header:MOST_ROWS]]
    head = _named(names, cast("list[Row]", rows))
    return TableHead(head.columns, head.rows, "" if delimiter == usual else delimiter, has_header, problem=head.problem)


def _cells(text: str, delimiter: str) -> list[list[str]]:
    """Return the first rows; quotes enclose values unless that fails."""
    lines = [line for line in text.split("\n")[: MOST_ROWS + 1] if line.strip()]
    try:
        rows = list(csv.reader((f"{line}\n" for line in lines), delimiter=delimiter, strict=True))
    except csv.Error:
        rows = [line.rstrip("\r").split(delimiter) for line in lines]
    return [row for row in rows if row]


def _is_table(rows: Sequence[Sequence[str]]) -> bool:
    """Whether the first rows have equally many cells, several."""
    lengths = {len(row) for row in rows[:N_PARSED]}
    return len(lengths) == 1 and max(lengths) > 1


def _is_header(rows: Sequence[Sequence[str]]) -> bool:
    """Whether a first row has names of columns: different, short, no numbers, and no values of their columns."""
    names, *others = rows
    are_names = all(len(name) <= MOST_CHARACTERS and name.count(" ") < MOST_SPACES for name in names)
    are_names = are_names and not any(name.strip().isdigit() for name in names)
    values = [{row[place] for row in others if len(row) > place} for place in range(min(len(names), MOST_COLUMNS))]
    is_value = any(name in of_column for name, of_column in zip(names, values, strict=False) if name)
    return are_names and len(set(names)) == len(names) and not is_value
