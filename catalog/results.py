"""Results of queries, and their three text formats."""

import csv
import io
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, TypeAlias

from rich.console import Console
from rich.table import Table
from rich.text import Text

from catalog.visible_text import visible
from mlprune.errors import QueryError

Value: TypeAlias = Any
"""A value of any type that DuckDB has."""
Row: TypeAlias = Mapping[str, Value]
"""Column -> value."""


@dataclass(frozen=True)
class QueryResult:
    """Rows and the names of their columns.

    Raises:
        QueryError: two columns have the same name.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[Value, ...], ...]

    def __post_init__(self) -> None:
        duplicates = sorted({name for name in self.columns if self.columns.count(name) > 1})
        if duplicates:
            raise QueryError("two columns have the same name", columns=duplicates, expected="AS another_name")

    def as_dicts(self) -> list[dict[str, Value]]:
        """Return one mapping from column name to value per row."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]


def render(result: QueryResult, format: str) -> str:  # noqa: A002 - the command line calls it format
    """Format a result as `json`, `csv` or `table`, without a final line break.

    Raises:
        QueryError: there is no such format.
    """
    if format not in FORMATS:
        raise QueryError("no such format", expected=sorted(FORMATS), got=format)
    return FORMATS[format](result)


def to_json(result: QueryResult) -> str:
    """Format as an array of objects: numbers in full precision, NULL and non-finite numbers as null, ISO times."""
    names = [json.dumps(name, ensure_ascii=False) for name in result.columns]
    rows = (
        "{" + ", ".join(f"{name}: {json_value(value)}" for name, value in zip(names, row, strict=True)) + "}"
        for row in result.rows
    )
    return "[" + ",\n ".join(rows) + "]"


def json_value(value: Value) -> str:
    """Return the JSON text of one value. Decimals keep all digits; bytes become hex."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "null"
    if isinstance(value, Decimal):
        return format(value, "f") if value.is_finite() else "null"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{json.dumps(str(key))}: {json_value(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(json_value(item) for item in value) + "]"
    if isinstance(value, bool | int | float | str):
        return json.dumps(value, ensure_ascii=False)
    return json.dumps(_text(value), ensure_ascii=False)


def to_csv(result: QueryResult) -> str:
    """Format as a header and one line per row; NULL is an empty cell, floats have full precision."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(result.columns)
    writer.writerows(["" if value is None else _text(value) for value in row] for row in result.rows)
    return stream.getvalue().removesuffix("\n")


def to_table(result: QueryResult) -> str:
    """Format as a table: floats with six digits, columns as wide as their values."""
    table = Table(show_edge=False)
    for column, values in zip(result.columns, zip(*result.rows, strict=True) if result.rows else (), strict=False):
        numeric = all(isinstance(value, int | float | Decimal | None) for value in values)
        table.add_column(Text(visible(column)), justify="right" if numeric else "left", no_wrap=True)
    for column in result.columns if not result.rows else ():
        table.add_column(Text(visible(column)), no_wrap=True)
    for row in result.rows:
        table.add_row(*(Text(f"{value:.6g}" if isinstance(value, float) else visible(_text(value))) for value in row))
    console = Console(file=io.StringIO(), width=1_000_000, color_system=None, force_terminal=False)
    with console.capture() as capture:
        console.print(table)
    return "\n".join(line.rstrip() for line in capture.get().splitlines())


def _text(value: Value) -> str:
    """Return the plain text of one value."""
    if value is None:
        return ""
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return f"PT{value.total_seconds():f}S"
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, list | tuple | Mapping):
        return json_value(value)
    return str(value)


FORMATS: Mapping[str, Callable[[QueryResult], str]] = {"table": to_table, "json": to_json, "csv": to_csv}
