"""Rows of a table file: JSON lines, Parquet, or text with a header and columns separated by tabs or commas."""

import csv
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from mlprune.corpus.text_files import COMPRESSIONS, open_text, read_lines, uncompressed_name
from mlprune.errors import CorpusError, repeated
from mlprune.given_files import require_regular
from mlprune.json_values import JsonValue

SUFFIXES = (".jsonl", ".jsonl.gz", ".jsonl.zst", ".parquet")
"""Extensions of the project's own task files, in the order in which they are looked up."""
DELIMITED_SUFFIXES = tuple(f"{suffix}{ending}" for suffix in (".tsv", ".csv") for ending in COMPRESSIONS)
MOST_ROWS = 20_000_000
"""Most rows of a Parquet file, which can repeat a value very often in a few bytes."""
READABLE_SUFFIXES = (*SUFFIXES, *DELIMITED_SUFFIXES)
"""Extensions of all files that `read_rows` reads."""


def read_rows(path: Path) -> list[dict[str, JsonValue]]:
    """All rows of a file, in order.

    Args:
        path: a file with one of the extensions `READABLE_SUFFIXES`. In a `.tsv` file quotes are characters like any
            other; in a `.csv` file they enclose a value. The values of both are texts.
    Raises:
        CorpusError: the file has another extension or cannot be read, or as `read_json_lines` and `read_delimited`.
    """
    if path.suffix == ".parquet":
        return read_parquet(path)
    if path.name.endswith(SUFFIXES):
        return read_json_lines(path)
    if path.name.endswith(DELIMITED_SUFFIXES):
        delimiter, quoted = delimited_format(path)
        return [dict(row) for row in read_delimited(path, delimiter=delimiter, quoted=quoted)]
    raise CorpusError("a file has an unknown extension", file=str(path), expected=READABLE_SUFFIXES, got=path.name)


def delimited_format(path: Path) -> tuple[str, bool]:
    """The delimiter of a file of `DELIMITED_SUFFIXES`, and whether its values are in quotes."""
    return (",", True) if uncompressed_name(path).endswith(".csv") else ("\t", False)


def parquet_columns(path: Path) -> list[str]:
    """The names of the columns of a Parquet file.

    Raises:
        CorpusError: the file cannot be read.
    """
    try:
        require_regular(path)
        return list(pq.read_schema(path).names)
    except (OSError, pa.ArrowException) as err:
        raise CorpusError("a file cannot be read", file=str(path), reason=str(err)) from err


def read_parquet(path: Path) -> list[dict[str, JsonValue]]:
    """All rows of a Parquet file.

    Raises:
        CorpusError: the file cannot be read.
    """
    try:
        require_regular(path)
        n_rows = pq.read_metadata(path).num_rows
        if n_rows > MOST_ROWS:
            raise CorpusError(
                "a table has too many rows", file=str(path), expected=f"at most {MOST_ROWS:,}", got=n_rows
            )
        return list(pq.read_table(path).to_pylist())
    except (OSError, pa.ArrowException) as err:
        raise CorpusError("a file cannot be read", file=str(path), reason=str(err)) from err


def read_json_lines(path: Path) -> list[dict[str, JsonValue]]:
    """All rows of JSON lines, of any extension. Row i is line i + 1.

    Raises:
        CorpusError: the file cannot be read, or a line is not a JSON object of texts. An empty line is not one.
    """
    return [_row(line, file=str(path), number=number) for number, line in enumerate(read_lines(path), start=1)]


def _row(line: str, *, file: str, number: int) -> dict[str, JsonValue]:
    try:
        row = json.loads(line, object_pairs_hook=_without_repeated_keys)
    except _RepeatedKeyError as err:
        raise CorpusError("a key occurs twice in a row", file=file, line=number, key=str(err), got=line[:80]) from err
    except (ValueError, RecursionError) as err:
        raise CorpusError("a line is not JSON", file=file, line=number, expected="an object", got=line[:80]) from err
    if not isinstance(row, dict):
        raise CorpusError("a line is not a JSON object", file=file, line=number, expected="an object", got=line[:80])
    if "\\u" in line and _has_half_pair(row):
        message = "a text contains half of a surrogate pair, which is not a character"
        raise CorpusError(message, file=file, line=number, expected="characters, or both halves", got=line[:80])
    return row


def _has_half_pair(row: dict[str, JsonValue]) -> bool:
    try:
        json.dumps(row, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return True
    return False


class _RepeatedKeyError(Exception):
    """A JSON object has a key twice."""


def _without_repeated_keys(pairs: list[tuple[str, JsonValue]]) -> dict[str, JsonValue]:
    values = dict(pairs)
    if len(values) < len(pairs):
        raise _RepeatedKeyError(repeated(name for name, _ in pairs)[0])
    return values


def read_delimited(path: Path, *, delimiter: str = "\t", quoted: bool = False) -> list[dict[str, str]]:
    """All rows of a text file whose first line names the columns. Without quotes, row i is line i + 2.

    Args:
        quoted: whether double quotes enclose a value, which may then contain delimiters and line breaks, and two of
            them stand for one. Published tables separated by tabs have bare quotes inside sentences instead.
    Raises:
        CorpusError: the file cannot be read, has no header or a column twice, or a row has another number of cells.
    """
    cells = read_cells(path, delimiter=delimiter, quoted=quoted)
    _, header = next(cells, (0, []))
    if not header or len(set(header)) < len(header):
        raise CorpusError("a table has no usable header", file=str(path), expected="different names", got=header)
    rows = []
    for number, values in cells:
        if len(values) != len(header):
            expected, got = f"{len(header)} cells as in the header", len(values)
            raise CorpusError(
                "a row has another number of cells", file=str(path), line=number, expected=expected, got=got
            )
        rows.append(dict(zip(header, values, strict=True)))
    return rows


def read_cells(path: Path, *, delimiter: str = "\t", quoted: bool = False) -> Iterator[tuple[int, list[str]]]:
    """The cells of each line that is not empty, with the number of the line, from 1; see `read_delimited`.

    Raises:
        CorpusError: the file cannot be read, or a quote is wrong.
    """
    with open_text(path) as text:
        if not quoted:
            yield from ((number, line.split(delimiter)) for number, line in _filled_lines(text))
            return
        reader = csv.reader(text, delimiter=delimiter, strict=True)
        try:
            yield from ((reader.line_num, values) for values in reader if values)
        except csv.Error as err:
            raise CorpusError(
                "a line is not a row of the table", file=str(path), line=reader.line_num, reason=str(err)
            ) from err


def _filled_lines(lines: Iterable[str]) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(lines, start=1):
        content = line.removesuffix("\n").rstrip("\r")
        if content:
            yield number, content
