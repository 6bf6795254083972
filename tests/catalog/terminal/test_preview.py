"""Previews have one line per row, and name the columns without room."""

import pytest

from catalog.results import QueryResult
from catalog.terminal import preview

COLUMNS = ("label", "value", "ci_low", "ci_high", "note", "empty")
ROWS = tuple((f"variant {number}", 0.5, 0.4, 0.6, "long\ntext " * 9, None) for number in range(3))


@pytest.mark.parametrize("width", [20, 50, 120])
def test_every_row_is_one_line_that_fits(width: int) -> None:
    lines = preview(QueryResult(COLUMNS, ROWS), width=width, n_rows=7).splitlines()
    assert max(map(len, lines)) <= max(width, 20)
    assert sum(line.startswith("variant") for line in lines) == 3
    text = " ".join(lines)
    assert "the first 3 of 7 rows" in text
    assert "empty" in text.partition("more columns")[2]
    assert ("0.500 (0.400 to 0.600)" in text) == (width >= 50)


def test_no_rows_name_the_columns_and_controls_are_escaped() -> None:
    assert "label, value" in preview(QueryResult(COLUMNS, ()), width=80, n_rows=0)
    assert "\x1b" not in preview(QueryResult(("a\x1b", "b"), (("\x1b[2J", 1),)), width=80, n_rows=1)
