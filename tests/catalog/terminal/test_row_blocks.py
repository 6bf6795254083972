from catalog.results import QueryResult
from catalog.terminal.row_blocks import row_blocks
from catalog.terminal.shown_columns import shown_columns


def test_a_row_is_a_block_of_the_columns_that_it_has() -> None:
    result = QueryResult(
        ("label", "difference", "ci_low", "ci_high", "settings"),
        (("wanda on fr-en", -0.0333, -0.127, 0.053, "only blocks 1 2 3"), ("dense", 0.0, 0.0, 0.0, None)),
    )
    assert row_blocks(shown_columns(result, digits=None, id_length=8), 38) == [
        "row 1 of 2 ───────────",
        "label       wanda on fr-en",
        "difference  -0.033 (-0.127 to +0.053)",
        "settings    only blocks 1 2 3",
        "row 2 of 2 ───────────",
        "label       dense",
        "difference  0.000 (0.000 to 0.000)",
    ]


def test_long_names_and_values_are_folded_to_the_width() -> None:
    result = QueryResult(("a_name_of_a_column_with_many_words", "b"), (("x" * 50, "y"), ("z", "y y")))
    lines = row_blocks(shown_columns(result, digits=None, id_length=8), 24)
    assert max(map(len, lines)) <= 24
    assert "".join(lines).count("x") == 50
