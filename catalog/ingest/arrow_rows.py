"""Rows on their way into a table: mappings become typed Arrow columns, which DuckDB takes in as they are.

A value that has not its column's type is refused rather than bent, so that a record that does not fit its table is
noticed. How rows get into the table is in `schema.py`.
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
"""Type of a column -> what its values travel as; a TIMESTAMP is cast from its text by the table."""


def arrow_rows(columns: Sequence[tuple[str, str]], rows: Sequence[Mapping[str, object]]) -> pa.Table:
    """Rows as Arrow columns; keys that are no column are left out, missing ones are NULL.

    Args:
        columns: (name, type) of the table, each type a key of `TYPES`.
    Returns: a table; values other than text in a column of text or JSON have become JSON text.
    Raises:
        ValueError: a value has not the type of its column, or does not fit into it.
    """
    arrays = [_array(name, kind, values_of(name, rows)) for name, kind in columns]
    return pa.Table.from_arrays(arrays, names=[name for name, _ in columns])


def values_of(name: str, rows: Sequence[Mapping[str, object]]) -> list[object]:
    """What each row has under a name, None where it has nothing."""
    try:
        return list(map(itemgetter(name), rows))  # nearly always, and in half the time
    except KeyError:
        return [row.get(name) for row in rows]


def _array(name: str, kind: str, values: list[object]) -> pa.Array:
    try:
        if kind in ("INTEGER", "BIGINT", "BIGINT[]"):
            return pa.array(values).cast(TYPES[kind])  # with a type given, 1.5 would become 1
        return pa.array(values, type=TYPES[kind])
    except pa.ArrowTypeError as err:
        if kind not in ("VARCHAR", "JSON"):
            raise ValueError(f"a value of column {name} is no {kind}: {err}") from err
        return pa.array(
            [one if one is None or isinstance(one, str) else json.dumps(one) for one in values], pa.string()
        )
    except (pa.ArrowException, OverflowError, TypeError, ValueError) as err:
        raise ValueError(f"a value of column {name} is no {kind}: {err}") from err
