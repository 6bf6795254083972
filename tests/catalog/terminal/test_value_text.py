import math
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from catalog.terminal.column_kinds import Kind
from catalog.terminal.value_text import aligned, decimals_of, number_text, other_text, p_value_text, ratio_text


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
        (0.0001, Kind.DIFFERENCE, 3, "+0.000"),
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
