"""Results of queries, and their exact text formats: JSON and CSV.

A name in a record of another store can contain anything: a control character that clears the terminal, or an override
of the writing direction that makes one name look like another. `visible` shows them as escapes such as `\\x1b`.
"""

import csv
import io
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, TypeAlias

from mlprune.errors import QueryError, repeated

_UNSHOWN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters except the tab and the line break
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # marks, overrides and isolates of the writing direction
    "\u2028\u2029\ud800-\udfff\ufeff\U000e0000-\U000e007f]"  # line separators, half characters, invisible tags
)
Value: TypeAlias = Any
"""A value of any type that DuckDB has."""
Row: TypeAlias = Mapping[str, Value]
"""Column -> value."""


def visible(text: str) -> str:
    """Return a text whose control characters and overrides of the writing direction are escaped; lines stay."""
    return _UNSHOWN.sub(_escaped, text)


def _escaped(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


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
    names = [_json_text(name) for name in result.columns]
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
        return "{" + ", ".join(f"{_json_text(str(key))}: {json_value(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(json_value(item) for item in value) + "]"
    return _json_text(value if isinstance(value, bool | int | float | str) else plain_text(value))


def _json_text(value: bool | float | str) -> str:
    """Return JSON in which letters stay, and escapes stand for characters that a terminal would interpret."""
    text = json.dumps(value, ensure_ascii=False)
    return text if visible(text) == text else json.dumps(value).replace("\x7f", "\\u007f")


def to_csv(result: QueryResult) -> str:
    """Format as a header and one line per row; NULL is an empty cell, floats have full precision.

    Texts are written as `csv_cell` does.
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(map(csv_cell, result.columns))
    writer.writerows(map(csv_cell, row) for row in result.rows)
    return stream.getvalue().removesuffix("\n")


def csv_cell(value: Value) -> str:
    """Return the text of a value in a CSV file, which neither a terminal nor a spreadsheet takes for more than text.

    Control characters and marks of the writing direction are escaped. A text that a spreadsheet would take for a
    formula gets an apostrophe in front; numbers stay as they are.
    """
    text = visible(plain_text(value))
    return f"'{text}" if isinstance(value, str) and _is_formula(text) else text


def _is_formula(text: str) -> bool:
    """Whether a text begins as a formula does, and is not a number."""
    if not text.startswith(("=", "+", "-", "@", "\t")):
        return False
    try:
        float(text)
    except ValueError:
        return True
    return text.startswith("\t")


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
