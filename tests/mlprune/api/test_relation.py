"""Columns that are looked up are those that a join would give, in Arrow, polars and row by row."""

import polars
import pyarrow as pa
import pytest

from mlprune.api import relation as late_columns
from mlprune.api.relation import SHOWN_ROWS, LateColumns, Relation
from mlprune.errors import BadInputError, QueryError

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


RELATION_TABLE = pa.table({"label": ["a", None, "<b>\x1b[0m"], "value": [0.25, None, 1.0], "n": [1, 2, 3]})


@pytest.fixture
def relation() -> Relation:
    return Relation(RELATION_TABLE, sql="SELECT $x", parameters={"x": 1}, notes=["a note"])


def test_rows_columns_and_frames_are_those_of_the_table(relation: Relation) -> None:
    assert relation.columns == ("label", "value", "n")
    assert len(relation) == 3
    assert next(iter(relation)) == {"label": "a", "value": 0.25, "n": 1}
    assert relation["value"] == [0.25, None, 1.0]
    assert relation.arrow() is RELATION_TABLE
    assert relation.pl().rows() == [("a", 0.25, 1), (None, None, 2), ("<b>\x1b[0m", 1.0, 3)]
    assert relation.df()["n"].tolist() == [1, 2, 3]
    assert polars.DataFrame(relation).equals(relation.pl())
    assert relation._ipython_key_completions_() == ["label", "value", "n"]
    assert (relation.sql, relation.parameters) == ("SELECT $x", {"x": 1})


def test_a_row_is_the_only_one(relation: Relation) -> None:
    assert Relation(RELATION_TABLE.slice(0, 1), sql="").row() == {"label": "a", "value": 0.25, "n": 1}
    with pytest.raises(QueryError, match="exactly one"):
        relation.row()
    assert not Relation(RELATION_TABLE.slice(0, 0), sql="")


def test_names_of_columns_are_unique_and_known(relation: Relation) -> None:
    with pytest.raises(QueryError, match="same name"):
        Relation(pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"]), sql="")
    with pytest.raises(QueryError, match="label"):
        relation["labl"]


def test_views_escape_texts_and_show_the_first_rows(relation: Relation) -> None:
    html = relation._repr_html_()
    assert "&lt;b&gt;" in html
    assert "<b>" not in html
    assert "\x1b" not in html + repr(relation)
    assert "a note" in html
    assert "a note" in repr(relation)
    many = Relation(pa.table({"n": range(100)}), sql="")
    assert many._repr_html_().count("<tr>") == SHOWN_ROWS + 1
    assert f"{SHOWN_ROWS} of 100 rows" in repr(many)


def test_a_wide_relation_has_one_line_per_row_and_names_the_other_columns() -> None:
    table = pa.table({f"column_{number:03d}": ["x" * 30, "y\nz"] for number in range(40)})
    lines = repr(Relation(table, sql="")).splitlines()
    assert len(lines[1]) <= 120
    assert "column_039" in " ".join(lines)
    assert sum(line.startswith("x") for line in lines) == 1


def test_a_library_that_is_not_installed_is_named(relation: Relation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlprune.api.relation.find_spec", lambda _: None)
    for name, call in {"polars": relation.pl, "pandas": relation.df}.items():
        with pytest.raises(BadInputError, match=f"pip install {name}"):
            call()


def test_an_empty_relation_names_its_columns() -> None:
    text = repr(Relation(RELATION_TABLE.slice(0, 0), sql="", notes=["why"]))
    assert "label, value, n" in text
    assert text.endswith("why")
