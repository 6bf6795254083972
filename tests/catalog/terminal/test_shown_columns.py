import math
from typing import Any

import pytest

from catalog.results import QueryResult
from catalog.terminal.shown_columns import ShownColumn, shown_columns


def shown(columns: tuple[str, ...], *rows: tuple[Any, ...]) -> dict[str, ShownColumn]:
    formatted = shown_columns(QueryResult(columns, rows), digits=None, id_length=8)
    return {column.name: column for column in formatted}


@pytest.mark.parametrize(
    ("columns", "owner"),
    [
        (("value", "ci_low", "ci_high"), "value"),
        (("perplexity", "ci_low", "ci_high"), "perplexity"),
        (("value", "difference", "ci_low", "ci_high"), "difference"),
        (("difference", "p_value", "n", "scale", "ci_low", "ci_high"), "difference"),
        (("ci_low", "ci_high", "value"), "ci"),
        (("test_value", "dense_value", "test_ci_low", "test_ci_high"), "test_value"),
        (("difference_ci_low", "difference_ci_high", "difference"), "difference"),
        (("sparsity", "ci_low", "ci_high"), "ci"),
    ],
)
def test_an_interval_joins_the_column_of_its_name_or_the_measured_number_before_it(
    columns: tuple[str, ...], owner: str
) -> None:
    texts = {"n": 150, "scale": "difference", "p_value": 0.5}
    row = tuple(
        texts.get(name, 0.2 if name.endswith("low") else 0.4 if name.endswith("high") else 0.3) for name in columns
    )
    formatted = shown(columns, row)
    assert set(formatted) == {*columns, owner} - {name for name in columns if name.endswith(("ci_low", "ci_high"))}
    assert formatted[owner].compact(0).endswith("0.400)")
    others = [column for name, column in formatted.items() if name != owner]
    assert not any("(" in column.cells[0] for column in others)


def test_a_value_and_its_interval_are_aligned_and_signed() -> None:
    column = shown(("difference", "ci_low", "ci_high"), (-0.0333, -0.1267, 0.053), (0.5, 0.0, 0.6), (0.5, None, None))
    assert column["difference"].cells == (
        "-0.033 (-0.127 to +0.053)",
        "+0.500 ( 0.000 to +0.600)",
        "+0.500                   ",
    )
    assert column["difference"].compact(1) == "+0.500 (0.000 to +0.600)"
    assert column["difference"].narrow(0) == "-0.033\n(-0.127 to +0.053)"


def test_a_second_interval_of_a_value_is_a_column_of_its_own() -> None:
    columns = shown(("difference", "ci_low", "ci_high", "ci90_low", "ci90_high"), (0.1, 0.0, 0.2, 0.05, 0.15))
    assert columns["difference"].compact(0) == "+0.100 (0.000 to +0.200)"
    assert columns["ci90"].cells == ("(0.050 to 0.150)",)


def test_texts_named_like_the_ends_of_an_interval_are_not_joined() -> None:
    assert list(shown(("value", "ci_low", "ci_high"), (0.1, "a", "b"))) == ["value", "ci_low", "ci_high"]


def test_differences_of_logarithms_are_shown_as_ratios() -> None:
    row = (math.log(1.25), "log_ratio", math.log(1.1), math.log(1.4))
    columns = shown(("difference", "scale", "ci_low", "ci_high"), row, (0.1, "difference", 0.0, 0.2))
    assert [columns["difference"].compact(n) for n in (0, 1)] == [
        "x1.250 (x1.100 to x1.400)",
        "+0.100 (0.000 to +0.200)",
    ]


def test_a_ratio_needs_no_interval() -> None:
    columns = shown(("difference", "scale"), (math.log(2), "log_ratio"), (None, None))
    assert [columns["difference"].compact(n) for n in (0, 1)] == ["x2.000", ""]


def test_columns_know_whether_they_are_constant_or_empty() -> None:
    columns = shown(("a", "b", "c"), (1, None, 0.5), (1, None, 0.7))
    assert [column.is_constant for column in columns.values()] == [True, True, False]
    assert [column.is_empty for column in columns.values()] == [False, True, False]
