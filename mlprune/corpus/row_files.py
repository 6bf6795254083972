"""Rows of a table file that a user provides: JSON lines, gzipped JSON lines or Parquet."""

import gzip
import json
import zlib
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from mlprune.errors import CorpusError
from mlprune.json_values import JsonValue

SUFFIXES = (".jsonl", ".jsonl.gz", ".parquet")
"""Extensions of the files that can be read."""


def read_rows(path: Path) -> list[dict[str, JsonValue]]:
    """All rows of a file, in order. Row i of JSON lines is line i + 1.

    Args:
        path: a file with one of the extensions `SUFFIXES`.
    Raises:
        CorpusError: the file has another extension or cannot be read, or a line is not a JSON object. An empty
            line is not one.
    """
    if not path.name.endswith(SUFFIXES):
        raise CorpusError("a file has an unknown extension", file=str(path), expected=SUFFIXES, got=path.name)
    try:
        if path.suffix == ".parquet":
            return list(pq.read_table(path).to_pylist())
        data = path.read_bytes()
        text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8-sig")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, pa.ArrowException) as err:
        raise CorpusError("a file cannot be read", file=str(path), reason=str(err)) from err
    lines = text.removesuffix("\n").split("\n") if text else []
    return [_row(line, file=str(path), number=number) for number, line in enumerate(lines, start=1)]


def _row(line: str, *, file: str, number: int) -> dict[str, JsonValue]:
    try:
        row = json.loads(line)
    except ValueError as err:
        raise CorpusError("a line is not JSON", file=file, line=number, expected="an object", got=line[:80]) from err
    if not isinstance(row, dict):
        raise CorpusError("a line is not a JSON object", file=file, line=number, expected="an object", got=line[:80])
    return row
