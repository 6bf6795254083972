"""Characters that a terminal or a browser would interpret are shown as escapes."""

import pytest

from catalog.results import QueryResult, visible
from catalog.terminal.result_table import render


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x1b[2Jb", r"a\x1b[2Jb"),
        ("a\rb\x00\x9b", r"a\x0db\x00\x9b"),
        ("abc\u202ecod.exe", r"abc\u202ecod.exe"),
        ("\u2066x\u2069\u2028", r"\u2066x\u2069\u2028"),
        ("\U000e0041", r"\U000e0041"),
        ("é ş 語 \u0645\u200c ا\tb\n", "é ş 語 \u0645\u200c ا\tb\n"),
    ],
)
def test_control_characters_and_overrides_of_the_direction_are_escaped(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_tables_and_csv_files_of_query_results_show_them_and_keep_none() -> None:
    result = QueryResult(("na\u202eme",), (("\x1b]0;x",),))
    assert not {"\u202e", "\x1b"} & set(render(result, "table"))
    assert r"na\u202eme" in render(result, "table")
    assert not {"\u202e", "\x1b"} & set(render(result, "csv"))
