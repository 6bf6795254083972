import csv
import io
import json
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from catalog.results import QueryResult
from catalog.store import Catalog
from catalog.terminal.result_table import render
from mlprune.errors import QueryError


def test_json_is_one_array_of_objects_keyed_by_column_name() -> None:
    result = QueryResult(("a", "b"), ((1, "x"), (2, "é\n")))
    assert json.loads(render(result, "json")) == [{"a": 1, "b": "x"}, {"a": 2, "b": "é\n"}]
    assert json.loads(render(QueryResult(("a",), ()), "json")) == []


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (float("nan"), None),
        (float("inf"), None),
        (0.1 + 0.2, 0.1 + 0.2),
        (2**80, 2**80),
        (True, True),
        (datetime(2026, 2, 3, 22, 15, 0, 500000), "2026-02-03T22:15:00.500000"),
        (date(2026, 2, 3), "2026-02-03"),
        (timedelta(seconds=90), "PT90.000000S"),
        (b"\x01\xff", "01ff"),
        ([1.5, float("nan"), {"k": None}], [1.5, None, {"k": None}]),
    ],
)
def test_json_cells_are_numbers_null_or_iso_8601(value: Any, expected: Any) -> None:
    assert json.loads(render(QueryResult(("v",), ((value,),)), "json")) == [{"v": expected}]


def test_json_decimals_keep_all_digits() -> None:
    digits = "12345678901234567890.123456789012345678"
    assert digits in render(QueryResult(("v",), ((Decimal(digits),),)), "json")


def test_json_of_a_real_answer_has_full_precision(catalog: Catalog) -> None:
    sql = "SELECT 1::DOUBLE / 3 AS third, NULL AS nothing, 'nan'::DOUBLE AS nan, started_at FROM jobs LIMIT 1"
    assert json.loads(render(catalog.select(sql), "json")) == [
        {"third": 1 / 3, "nothing": None, "nan": None, "started_at": "2026-02-03T22:15:00"}
    ]


def test_csv_has_a_header_and_empty_cells_for_null() -> None:
    text = render(QueryResult(("a", "b"), ((1 / 3, None), ("x,y", 'say "z"'))), "csv")
    assert list(csv.reader(io.StringIO(text))) == [["a", "b"], [repr(1 / 3), ""], ["x,y", 'say "z"']]


def test_two_columns_with_the_same_name_are_an_error() -> None:
    with pytest.raises(QueryError, match="two columns have the same name"):
        QueryResult(("a", "b", "a"), ())


HOSTILE = "a\x1b]0;x\x07\x9b\x7f\u202eb"


def test_csv_has_no_character_that_a_terminal_interprets_and_no_formula() -> None:
    texts = ["=1+1", "+1+1", "-x", "@SUM(A1)", "\t=1", "-0.5", "+3", "-", "a=b", "", HOSTILE, "two\nlines"]
    result = QueryResult(("=name\x1b", "n"), tuple((text, -0.5) for text in texts))
    text = render(result, "csv")
    assert not {"\x1b", "\x07", "\x9b", "\x7f", "\u202e"} & set(text)
    header, *rows = csv.reader(io.StringIO(text))
    assert header == ["'=name\\x1b", "n"]
    assert [row[0] for row in rows[:10]] == [
        "'=1+1", "'+1+1", "'-x", "'@SUM(A1)", "'\t=1", "-0.5", "+3", "'-", "a=b", "",
    ]  # fmt: skip
    assert rows[10][0] == "a\\x1b]0;x\\x07\\x9b\\x7f\\u202eb"
    assert {row[1] for row in rows} == {"-0.5"}


def test_json_has_no_character_that_a_terminal_interprets_and_the_same_values() -> None:
    result = QueryResult((HOSTILE, "b"), ((HOSTILE, {HOSTILE: [HOSTILE, "é"]}),))
    text = render(result, "json")
    assert not {"\x1b", "\x07", "\x9b", "\x7f", "\u202e"} & set(text)
    assert json.loads(text) == [{HOSTILE: HOSTILE, "b": {HOSTILE: [HOSTILE, "é"]}}]
