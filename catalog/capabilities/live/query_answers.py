"""Answers to the SQL that a user types into the page: a table for the page, or a file to download.

A text is one statement or the name of a built-in query. Comments in the form of the built-in queries' declare
parameters with their values: `-- $task VARCHAR = 'facts'`. The path of a file is never accepted.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import accumulate
from time import monotonic

from catalog.queries import complete_ids, read_artefact_tables, store_defaults
from catalog.report.labels import number, p_value
from catalog.results import QueryResult, Value, plain_text, to_csv, to_json, visible
from catalog.sql_files import NamedQuery, ParameterValue, find_query, parse_parameters, parse_query
from catalog.store import Catalog
from catalog.store.connections import QueryLimitError, QueryLimits
from catalog.store.live_catalog import parquet_limited, select_limited
from mlprune.errors import QueryError
from mlprune.json_values import JsonObject, JsonValue

INTERRUPT_AFTER_S = 9.0
"""Time after which DuckDB is asked to stop; what does not stop is killed with the process a second later."""
MAX_ROWS, MAX_FILE_ROWS = 1_000, 100_000
"""Maximum number of rows in the page, which shows the first ones, and in a file."""
MAX_CELL_LENGTH = 2_000
"""Maximum number of characters of a value in the page."""
MAX_FILE_BYTES = 100_000_000
LEAST_ROUNDED, DIGITS = 0.01, 3
"""Numbers from which on the page shows decimals; of smaller ones it shows significant digits. Files have all digits."""
MAX_DEPTH = 100
"""Maximum nesting of brackets: DuckDB's parser takes 2 s for 2,000 brackets, and cannot be interrupted."""
NAME_LENGTH = 80
"""Maximum length of the name of a query."""


ToBytes = Callable[[Catalog, NamedQuery, QueryLimits], bytes]


def answer_table(catalog: Catalog, text: str) -> JsonObject:
    """Run a query and return its table: columns, the first rows as text, and whether there are more.

    Raises:
        QueryError: the query is refused or cannot be answered.
        QueryLimitError: it takes too long.
    """
    started, query = monotonic(), _query(text)
    result = _select(catalog, query, QueryLimits(INTERRUPT_AFTER_S, MAX_ROWS, may_cut=True))
    rows: list[JsonValue] = [list(map(_cell, row, result.columns)) for row in result.rows[:MAX_ROWS]]
    return {
        "columns": [visible(name) for name in result.columns],
        "rows": rows,
        "is_cut": len(result.rows) > MAX_ROWS,
        "elapsed_s": round(monotonic() - started, 3),
    }


def answer_file(catalog: Catalog, text: str, file_format: str) -> bytes:
    """Run a query and return its complete result as a file.

    Args:
        file_format: a key of `FILE_FORMATS`.
    Raises:
        QueryError: see `answer_table`; also if there is no such format.
        QueryLimitError: the query takes too long, or its result is too large.
    """
    if file_format not in FILE_FORMATS:
        raise QueryError("no such format", expected=sorted(FILE_FORMATS), got=file_format[:NAME_LENGTH])
    limits = QueryLimits(INTERRUPT_AFTER_S, MAX_FILE_ROWS)
    content = FILE_FORMATS[file_format].to_bytes(catalog, _query(text), limits)
    if len(content) > MAX_FILE_BYTES:
        expected = f"at most {MAX_FILE_BYTES:,} bytes"
        raise QueryLimitError("the file is too large", expected=expected, got=len(content), next="add LIMIT")
    return content


def editable_query(catalog: Catalog, name: str) -> str:
    """Return the SQL of a built-in query. Its defaults are those of the store, as in `mlprune query`.

    Raises:
        QueryError: no query has that name.
    """
    query = find_query(name[:NAME_LENGTH])
    given = parse_parameters((), [replace(one, required=False) for one in query.parameters], query=query.name)
    changed = store_defaults(catalog, given, given=(), is_ranking=query.is_ranking)
    text = query.sql
    for parameter in query.parameters:
        if parameter.name in changed:
            new = replace(parameter, default=changed[parameter.name])
            text = text.replace(f"-- {parameter.declaration}\n", f"-- {new.declaration}\n")
    return text


def _query(text: str) -> NamedQuery:
    """Return the query that a text asks for: a built-in one if it is a single word, otherwise the text itself."""
    name = text.strip()
    if not name:
        raise QueryError("the query is empty", expected="SQL, or the name of a query")
    if name.isidentifier() and len(name) <= NAME_LENGTH:
        return find_query(name)
    if _depth(text) > MAX_DEPTH:
        raise QueryError("brackets are nested too deeply", expected=f"at most {MAX_DEPTH}")
    return parse_query("typed", text)


def _depth(text: str) -> int:
    """Return how deeply the brackets of a statement are nested, including those in its texts and comments."""
    steps = ((character in "([{") - (character in ")]}") for character in text)
    return max(accumulate(steps), default=0)


def _values(catalog: Catalog, query: NamedQuery) -> Mapping[str, ParameterValue]:
    """Return the values of all parameters: those that the text declares."""
    return complete_ids(catalog, parse_parameters((), query.parameters, query=query.name))


def _select(catalog: Catalog, query: NamedQuery, limits: QueryLimits) -> QueryResult:
    values = _values(catalog, query)
    tables = read_artefact_tables(catalog, query, values)
    return select_limited(catalog, query.sql, query.bound(values), tables=tables, limits=limits)


def _parquet_file(catalog: Catalog, query: NamedQuery, limits: QueryLimits) -> bytes:
    values = _values(catalog, query)
    tables = read_artefact_tables(catalog, query, values)
    return parquet_limited(catalog, query.sql, query.bound(values), tables=tables, limits=limits)


def _cell(value: Value, column: str) -> str | None:
    """Return a value as text for the page, shortened and rounded as in the report; None for NULL."""
    if value is None:
        return None
    if isinstance(value, float) and math.isfinite(value):
        if column.startswith("p_"):
            return p_value(value)
        return number(value) if abs(value) >= LEAST_ROUNDED or not value else f"{value:.{DIGITS}g}"
    text = visible(plain_text(value))
    return text if len(text) <= MAX_CELL_LENGTH else f"{text[: MAX_CELL_LENGTH - 1]}…"


def _text_file(to_text: Callable[[QueryResult], str]) -> ToBytes:
    return lambda catalog, query, limits: f"{to_text(_select(catalog, query, limits))}\n".encode("utf-8", "replace")


@dataclass(frozen=True)
class FileFormat:
    """A format of files to download."""

    media_type: str
    to_bytes: ToBytes


FILE_FORMATS: Mapping[str, FileFormat] = {
    "csv": FileFormat("text/csv; charset=utf-8", _text_file(to_csv)),
    "json": FileFormat("application/json", _text_file(to_json)),
    "parquet": FileFormat("application/vnd.apache.parquet", _parquet_file),
}
"""Format, also the suffix of the file -> how it is made."""
