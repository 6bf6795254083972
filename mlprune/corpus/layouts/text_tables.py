"""Layouts of tables: FLORES as Parquet with a file per language, WMT24++ with a file per pair of languages, and text
with a column per language."""

import re
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import cast

from mlprune.corpus import text_files
from mlprune.corpus.layouts.text_layout import TextSource, files_in, is_known_language, split_name
from mlprune.corpus.parquet_files import parquet_columns, read_parquet
from mlprune.errors import CorpusError
from mlprune.json_values import JsonObject, parse_json
from mlprune.vocabulary import DELIMITED_SUFFIXES

_CODE = r"(?P<code>[a-z]{3}_[A-Z][a-z]{3}(_\w+)?)"
_PARQUET = re.compile(rf"{_CODE}\.parquet")
_CODE_FOLDER = re.compile(_CODE)
_SHARD = re.compile(r"(?P<split>dev|devtest)-00000-of-00001\.parquet")
_TEXT_COLUMNS = ("text", "sentence")
_WMT = re.compile(r"(?P<source>[a-z]{2,3})-(?P<target>[a-z]{2,3}_[A-Z]{2})\.jsonl")
_WMT_KEYS = {"source", "target", "is_bad_source", "document_id", "segment_id"}


def parquet_sources(path: Path) -> list[TextSource]:
    """`dev/fra_Latn.parquet` (FLORES+), or `fra_Latn/dev-00000-of-00001.parquet` (the hub's FLORES-200)."""
    sources = [
        TextSource(file, match["code"], split_name(path.name))
        for file in files_in(path)
        if (match := _PARQUET.fullmatch(file.name))
    ]
    folders = sorted(path.iterdir()) if path.is_dir() and not sources else []
    sources += [
        TextSource(file, code["code"], split["split"])
        for folder in folders
        if (code := _CODE_FOLDER.fullmatch(folder.name))
        for file in files_in(folder)
        if (split := _SHARD.fullmatch(file.name))
    ]
    return sources if sources and _text_column(sources[0].path) else []


def _text_column(path: Path) -> str | None:
    columns = parquet_columns(path)
    return next((name for name in _TEXT_COLUMNS if name in columns), None)


def read_parquet_files(sources: Sequence[TextSource]) -> list[list[str]]:
    """The sentences of each file."""
    return [_parquet_sentences(source.path) for source in sources]


def _parquet_sentences(path: Path) -> list[str]:
    """The sentences of a table, in the order of their ids."""
    column = _text_column(path)
    if column is None:
        raise CorpusError("a table has no sentences", file=str(path), expected=_TEXT_COLUMNS, got=parquet_columns(path))
    rows = read_parquet(path)
    if rows and isinstance(rows[0].get("id"), int):
        rows = sorted(rows, key=lambda row: cast("int", row["id"]))
    return [str(row[column] or "") for row in rows]


def table_sources(path: Path) -> list[TextSource]:
    """The columns of `.tsv` and `.csv` files with a header that names at least two languages."""
    files = [file for file in files_in(path) if file.name.endswith(DELIMITED_SUFFIXES)]
    names = {file: text_files.uncompressed_name(file).rpartition(".")[0] for file in files}
    return [TextSource(file, code, names[file]) for file in files for code in _language_columns(file)]


def named_columns(path: Path, columns: Sequence[tuple[str, str]]) -> list[TextSource]:
    """The languages of `.tsv` and `.csv` files whose header has other names for them, as in `languages` of a task.

    Args:
        columns: (language, column) of each language.
    Raises:
        CorpusError: no file has all these columns.
    """
    files = [file for file in files_in(path) if file.name.endswith(DELIMITED_SUFFIXES)]
    headers = {file: _first_lines(file, 1)[0] for file in files}
    wanted = [column for _, column in columns]
    sources = [
        TextSource(file, language, text_files.uncompressed_name(file).rpartition(".")[0], column)
        for file, header in headers.items()
        if set(header) >= set(wanted)
        for language, column in columns
    ]
    if not sources:
        got: object = {file.name: header for file, header in headers.items()} or text_files.listed_names(path)
        context = {"path": str(path), "key": "columns", "expected": wanted, "got": got}
        raise CorpusError("no table of the text has the columns of its languages", context)
    return sources


def _first_lines(path: Path, n: int) -> list[list[str]]:
    """Return the cells of the first lines of a table; an empty line for a file without lines."""
    delimiter, quoted = text_files.delimited_format(path)
    cells = text_files.read_cells(path, delimiter=delimiter, quoted=quoted)
    return [row for _, row in islice(cells, n)] or [[]]


def _language_columns(path: Path) -> list[str]:
    """The columns of a table that are languages, if there are several. A numeric column `id` is not Indonesian."""
    try:
        lines = _first_lines(path, 2)
    except CorpusError:
        return []
    first = dict(zip(*lines, strict=False)) if len(lines) == 2 else {}
    is_number = {name: name.lower() == "id" and first.get(name, "").isdigit() for name in lines[0]}
    codes = [name for name in lines[0] if is_known_language(name) and not is_number[name]]
    return codes if len(codes) > 1 else []


def read_tables(sources: Sequence[TextSource]) -> list[list[str]]:
    """The sentences of the columns of one table."""
    delimiter, quoted = text_files.delimited_format(sources[0].path)
    rows = text_files.read_delimited(sources[0].path, delimiter=delimiter, quoted=quoted)
    return [[row[source.column or source.code] for row in rows] for source in sources]


def wmt_sources(path: Path) -> list[TextSource]:
    """`en-de_DE.jsonl`: the file of each pair, and English from the first of them."""
    matches = [
        (file, match) for file in files_in(path) if (match := _WMT.fullmatch(text_files.uncompressed_name(file)))
    ]
    if not matches or not set(_first_row(matches[0][0])) >= _WMT_KEYS:
        return []
    file, first = matches[0]
    return [TextSource(file, first["source"]), *(TextSource(file, match["target"]) for file, match in matches)]


def _first_row(path: Path) -> JsonObject:
    try:
        with text_files.open_text(path) as text:
            row = parse_json(text.readline())
    except (CorpusError, ValueError):
        return {}
    return row if isinstance(row, dict) else {}


def read_wmt(sources: Sequence[TextSource]) -> list[list[str]]:
    """The sentences of each source, without those whose English is marked as bad, which are the same in all pairs."""
    return [[str(row[_wmt_key(source)] or "") for row in wmt_rows(source)] for source in sources]


def _wmt_key(source: TextSource) -> str:
    return "target" if "_" in source.code else "source"


def wmt_rows(source: TextSource) -> list[JsonObject]:
    """The rows of a pair of WMT24++ without those of bad sources.

    Raises:
        CorpusError: a row lacks a key.
    """
    rows = text_files.read_json_lines(source.path)
    for number, row in enumerate(rows, start=1):
        if missing := _WMT_KEYS - set(row):
            place = {"file": str(source.path), "line": number}
            raise CorpusError("a row lacks keys", place, expected=sorted(_WMT_KEYS), missing=sorted(missing))
    return [row for row in rows if row["is_bad_source"] is not True]
