import math
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from catalog.results import QueryResult
from catalog.terminal.columns import (
    Kind,
    ShownColumn,
    aligned,
    decimals_of,
    interval_owners,
    joined_intervals,
    kind_of,
    number_text,
    other_text,
    p_value_text,
    ratio_text,
    shown_columns,
)

SHA256 = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("name", "values", "kind"),
    [
        ("n", (3, None), Kind.COUNT),
        ("is_dense", (True, False), Kind.YES_NO),
        ("value", (0.5, None), Kind.NUMBER),
        ("value", (Decimal("0.5"), 1), Kind.NUMBER),
        ("english_difference", (0.5,), Kind.DIFFERENCE),
        ("minus_english_change", (0.5,), Kind.DIFFERENCE),
        ("n_differing", (2,), Kind.COUNT),
        ("detectable_difference", (0.5,), Kind.NUMBER),
        ("change", ("gain", "loss"), Kind.TEXT),
        ("achieved_sparsity", (0.5,), Kind.SETTING),
        ("p_value", (0.5,), Kind.P_VALUE),
        ("smallest_p_corrected", (0.5,), Kind.P_VALUE),
        ("q_bh", (0.5,), Kind.P_VALUE),
        ("perplexity", (0.5,), Kind.NUMBER),
        ("variant_id", (SHA256[:20], None), Kind.ID),
        ("run_id", ("20261124T221250-5694d8",), Kind.TEXT),
        ("sha256", (SHA256,), Kind.DIGEST),
        ("git_commit", (SHA256[:40],), Kind.DIGEST),
        ("started_at", (datetime(2026, 2, 3),), Kind.TEXT),
        ("mixed", ("a", 1), Kind.TEXT),
        ("empty", (None, None), Kind.TEXT),
    ],
)
def test_a_kind_follows_from_the_values_and_the_name(name: str, values: tuple[Any, ...], kind: Kind) -> None:
    assert kind_of(name, values) is kind


@pytest.mark.parametrize(
    ("p_value", "digits", "text"),
    [
        (0.0, None, "<0.001"),
        (1e-30, None, "<0.001"),
        (0.000999, None, "<0.001"),
        (0.001, None, "0.00100"),
        (0.03124, None, "0.0312"),
        (0.05, None, "0.0500"),
        (0.9999, None, "1.00"),
        (1.0, None, "1.00"),
        (0.0004567, 4, "0.0004567"),
        (0.00004, 4, "<0.0001"),
        (None, None, ""),
        (math.nan, None, "nan"),
    ],
)
def test_p_values_have_three_significant_digits_and_are_never_zero(p_value: Any, digits: int | None, text: str) -> None:
    assert p_value_text(p_value, digits=digits) == text


@pytest.mark.parametrize(
    ("name", "values", "kind", "digits", "decimals"),
    [
        ("value", (0.28, None), Kind.NUMBER, None, 3),
        ("value", (0.28, math.nan), Kind.NUMBER, 5, 5),
        ("sparsity", (0.2, 0.5), Kind.SETTING, None, 1),
        ("sparsity", (0.25, 0.5), Kind.SETTING, None, 2),
        ("achieved_sparsity", (0.49996, 0.5), Kind.SETTING, None, 3),
        ("elapsed_s", (12.345,), Kind.NUMBER, None, 1),
        ("elapsed_s", (12.345,), Kind.NUMBER, 3, 3),
        ("peak_memory_gib", (1.2345,), Kind.NUMBER, None, 2),
        ("value", (0.0,), Kind.NUMBER, None, 3),
        ("magnitude", (0.0001, 0.00002), Kind.NUMBER, None, None),
        ("magnitude", (1e12,), Kind.NUMBER, None, None),
    ],
)
def test_a_column_has_three_decimals_unless_its_unit_or_its_values_ask_for_others(
    name: str, values: tuple[Any, ...], kind: Kind, digits: int | None, decimals: int | None
) -> None:
    assert decimals_of(name, values, kind=kind, digits=digits) == decimals


@pytest.mark.parametrize(
    ("value", "kind", "decimals", "text"),
    [
        (0.28, Kind.NUMBER, 3, "0.280"),
        (0.28, Kind.DIFFERENCE, 3, "+0.280"),
        (-1 / 150, Kind.DIFFERENCE, 3, "-0.007"),
        (0.0, Kind.DIFFERENCE, 3, "0.000"),
        (0.0001, Kind.DIFFERENCE, 3, "0.000"),
        (Decimal("NaN"), Kind.DIFFERENCE, 3, "NaN"),
        (1.5e-5, Kind.NUMBER, None, "1.50e-05"),
        (150, Kind.COUNT, 3, "150"),
        (None, Kind.NUMBER, 3, ""),
    ],
)
def test_a_difference_has_a_sign_and_a_count_has_no_decimals(
    value: Any, kind: Kind, decimals: int | None, text: str
) -> None:
    assert number_text(value, kind=kind, decimals=decimals) == text


def test_the_logarithm_of_a_ratio_is_shown_as_the_ratio() -> None:
    assert ratio_text(math.log(1.25), decimals=3) == "x1.250"
    assert ratio_text(1e9, decimals=3).startswith("x")
    assert ratio_text(None, decimals=3) == ""


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [
        ("3e395151aa0123456789", Kind.ID, "3e395151"),
        ("ab" * 32, Kind.DIGEST, "abababababab…"),
        (True, Kind.YES_NO, "yes"),
        (datetime(2026, 2, 3, 22, 15, 0, 500000), Kind.TEXT, "2026-02-03 22:15:00"),
        (timedelta(seconds=90), Kind.TEXT, "0:01:30"),
        (["ar", "en", None], Kind.TEXT, "ar, en, null"),
        ([{"a": 1}], Kind.TEXT, '[{"a": 1}]'),
        (["\x1b[2J"], Kind.TEXT, r"\x1b[2J"),
        ("a\tb\x1b", Kind.TEXT, r"a   b\x1b"),
    ],
)
def test_other_values_are_readable_and_cannot_control_the_terminal(value: Any, kind: Kind, text: str) -> None:
    assert other_text(value, kind=kind, id_length=8) == text


def test_ids_and_digests_are_written_in_full_on_request() -> None:
    assert other_text("3e395151aa0123456789", kind=Kind.ID, id_length=None) == "3e395151aa0123456789"
    assert other_text("ab" * 32, kind=Kind.DIGEST, id_length=None) == "ab" * 32


def test_points_are_aligned() -> None:
    assert aligned(["12.5", "<0.001", "", "7"]) == ["12.5  ", "<0.001", "      ", " 7    "]


def shown(columns: tuple[str, ...], *rows: tuple[Any, ...]) -> dict[str, ShownColumn]:
    result = QueryResult(columns, rows)
    joined = joined_intervals(result, owners=None)
    return {column.name: column for column in shown_columns(result, digits=None, id_length=8, joined=joined)}


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


def test_a_second_interval_of_a_value_is_a_column_of_its_own() -> None:
    columns = shown(("difference", "ci_low", "ci_high", "ci90_low", "ci90_high"), (0.1, 0.0, 0.2, 0.05, 0.15))
    assert columns["difference"].compact(0) == "+0.100 (0.000 to +0.200)"
    assert columns["ci90"].cells == ("(0.050 to 0.150)",)


@pytest.mark.parametrize(
    ("columns", "row", "owner"),
    [
        (("difference", "per_point", "ci_low", "ci_high"), (-0.133, -0.003, -0.241, -0.042), "difference"),
        (("per_point", "ci_low", "ci_high"), (-0.1, -0.241, -0.042), None),
        (("difference", "ci_low", "ci_high"), (0.5, -0.241, -0.042), None),
        (("difference", "ci_low", "ci_high"), (None, -0.241, -0.042), None),
        (("value", "difference", "value_ci_low", "value_ci_high"), (0.3, 0.3, 0.2, 0.4), "value"),
        (("value", "value_ci_low", "value_ci_high"), (0.9, 0.2, 0.4), "value"),
    ],
)
def test_in_own_sql_an_interval_joins_the_column_of_its_name_or_of_its_table_if_rows_are_in_order(
    columns: tuple[str, ...], row: tuple[Any, ...], owner: str | None
) -> None:
    joined = joined_intervals(QueryResult(columns, (row,)), owners={"ci_low": "difference"})
    assert list(joined) == ([] if owner is None else [owner])


def test_one_row_out_of_order_leaves_all_rows_as_they_were_asked() -> None:
    result = QueryResult(("value", "ci_low", "ci_high"), ((0.3, 0.2, 0.4), (0.5, 0.2, 0.4)))
    assert joined_intervals(result, owners=None) == {}
    formatted = shown_columns(result, digits=None, id_length=8, joined={}, joins_ends=False)
    assert [column.name for column in formatted] == ["value", "ci_low", "ci_high"]


def test_a_table_says_to_which_column_its_intervals_belong() -> None:
    numbers = ["value", "p_value", "difference", "ci_low", "ci_high", "ci90_low", "ci90_high", "test_ci_low"]
    assert interval_owners(numbers) == {"ci_low": "difference", "ci90_low": "difference"}


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


@pytest.mark.parametrize("value", [-0.0004, -0.0, 0.0, 0.0004])
def test_a_number_that_rounds_to_0_has_no_sign(value: float) -> None:
    assert number_text(value, kind=Kind.DIFFERENCE, decimals=3) == "0.000"
    assert number_text(value, kind=Kind.NUMBER, decimals=3) == "0.000"
