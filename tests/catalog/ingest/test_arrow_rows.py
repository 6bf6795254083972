"""Conversion of rows to typed columns."""

from typing import Any

import pytest

from catalog.ingest.arrow_rows import arrow_rows

COLUMNS = (
    ("name", "VARCHAR"),
    ("n", "INTEGER"),
    ("size", "BIGINT"),
    ("counts", "BIGINT[]"),
    ("value", "DOUBLE"),
    ("is_dense", "BOOLEAN"),
)


def test_rows_become_columns_with_null_for_what_is_missing() -> None:
    whole = {"name": "a", "n": 1, "size": 2**40, "counts": [2**40, 0], "value": 1, "is_dense": True}
    rows: list[dict[str, Any]] = [whole, {"other": 5}]
    assert arrow_rows(COLUMNS, rows).to_pylist() == [
        {**whole, "value": 1.0},
        dict.fromkeys((name for name, _ in COLUMNS), None),
    ]


def test_a_value_other_than_text_becomes_json_text_in_a_column_of_text() -> None:
    rows = [{"name": 5}, {"name": "5"}, {"name": {"a": [1]}}, {}]
    assert arrow_rows(COLUMNS[:1], rows).column("name").to_pylist() == ["5", "5", '{"a": [1]}', None]


@pytest.mark.parametrize(
    "row",
    [
        {"n": "many"},
        {"n": 1.5},
        {"n": 2**31},
        {"size": 2**63},
        {"counts": [1.5]},
        {"counts": ["one"]},
        {"counts": 1},
        {"value": "high"},
        {"is_dense": "yes"},
    ],
)
def test_a_value_of_another_type_is_refused(row: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"column {next(iter(row))}"):
        arrow_rows(COLUMNS, [row])
