"""Columns that are looked up are those that a join would give, in Arrow, polars and row by row."""

import polars
import pyarrow as pa
import pytest

from mlprune.api import late_columns
from mlprune.api.late_columns import LateColumns
from mlprune.api.relation import Relation

VALUES = pa.table({"label": ["a", None, "c"], "method": ["x", "x", "y"]})
LATE = LateColumns("number", VALUES, ("label", "value", "method"))
TABLE = pa.table({"value": [0.1, 0.2, None, 0.4], "number": pa.array([2, 0, 1, 2], pa.int32())})
ROWS = [
    {"label": "c", "value": 0.1, "method": "y"},
    {"label": "a", "value": 0.2, "method": "x"},
    {"label": None, "value": None, "method": "x"},
    {"label": "c", "value": 0.4, "method": "y"},
]


@pytest.mark.parametrize("rows_at_once", [1, 3, 10])
def test_texts_are_joined_to_their_rows(monkeypatch: pytest.MonkeyPatch, rows_at_once: int) -> None:
    monkeypatch.setattr(late_columns, "ROWS_AT_ONCE", rows_at_once)
    relation = Relation(TABLE, sql="", late=LATE)
    assert relation.columns == ("label", "value", "method")
    assert list(relation) == ROWS
    assert relation.arrow().to_pylist() == ROWS
    assert relation.pl().rows(named=True) == ROWS
    assert relation.pl().columns == relation.df().columns.tolist() == list(relation.columns)
    assert relation["label"] == ["c", "a", None, "c"]
    assert relation["value"] == [0.1, 0.2, None, 0.4]
    assert polars.DataFrame(relation).equals(relation.pl())
    assert "number" not in repr(relation) + relation._repr_html_()


def test_no_rows_keep_the_columns() -> None:
    relation = Relation(TABLE.slice(0, 0), sql="", late=LATE)
    assert relation.pl().columns == ["label", "value", "method"]
    assert relation.arrow().column_names == ["label", "value", "method"]
    assert list(relation) == []
