"""Convert rows to typed Arrow columns, which DuckDB inserts without conversion.

Numbers and booleans are never converted to another type: a record that does not fit its table raises an error. Only
text columns accept other values, as JSON text.
"""

import json
from collections.abc import Mapping, Sequence
from operator import itemgetter

import pyarrow as pa

TYPES: Mapping[str, pa.DataType] = {
    "VARCHAR": pa.string(),
    "TIMESTAMP": pa.string(),
    "BOOLEAN": pa.bool_(),
    "INTEGER": pa.int32(),
    "BIGINT": pa.int64(),
    "BIGINT[]": pa.list_(pa.int64()),
    "VARCHAR[]": pa.list_(pa.string()),
    "DOUBLE": pa.float64(),
    "JSON": pa.string(),
}
"""DuckDB type of a column -> Arrow type of its values. Timestamps are text, which DuckDB casts."""


def arrow_rows(columns: Sequence[tuple[str, str]], rows: Sequence[Mapping[str, object]]) -> pa.Table:
    """Return rows as an Arrow table; keys without a column are ignored, missing keys are NULL.

    Args:
        columns: (name, type) of the table, each type a key of `TYPES`.
    Returns: a table. In VARCHAR and JSON columns, values that are not text become JSON text.
    Raises:
        ValueError: a value does not have the type of its column, or is out of range.
    """
    arrays = [_array(name, kind, values_of(name, rows)) for name, kind in columns]
    return pa.Table.from_arrays(arrays, names=[name for name, _ in columns])


def values_of(name: str, rows: Sequence[Mapping[str, object]]) -> list[object]:
    """Return the value of each row under a key, None for rows without it."""
    try:
        return list(map(itemgetter(name), rows))  # fast path: every row has the key
    except KeyError:
        return [row.get(name) for row in rows]


def _array(name: str, kind: str, values: list[object]) -> pa.Array:
    try:
        if kind in ("INTEGER", "BIGINT", "BIGINT[]"):
            return pa.array(values).cast(TYPES[kind])  # pa.array(values, type=...) would truncate 1.5 to 1
        return pa.array(values, type=TYPES[kind])
    except pa.ArrowTypeError as err:
        if kind not in ("VARCHAR", "JSON"):
            raise ValueError(f"a value of column {name} is not a {kind}: {err}") from err
        texts = [value if value is None or isinstance(value, str) else json.dumps(value) for value in values]
        return pa.array(texts, pa.string())
    except (pa.ArrowException, OverflowError, TypeError, ValueError) as err:
        raise ValueError(f"a value of column {name} is not a {kind}: {err}") from err
