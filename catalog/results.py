"""Results of queries, and their exact text formats: JSON and CSV."""

import csv
import io
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, TypeAlias

from mlprune.errors import QueryError, repeated

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
        if duplicates := sorted(repeated(self.columns)):
            raise QueryError("two columns have the same name", columns=duplicates, expected="AS another_name")

    def as_dicts(self) -> list[dict[str, Value]]:
        """Return one mapping from column name to value per row."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]


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
    return json.dumps(plain_text(value), ensure_ascii=False)


def to_csv(result: QueryResult) -> str:
    """Format as a header and one line per row; NULL is an empty cell, floats have full precision."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(result.columns)
    writer.writerows(["" if value is None else plain_text(value) for value in row] for row in result.rows)
    return stream.getvalue().removesuffix("\n")


def plain_text(value: Value) -> str:
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
