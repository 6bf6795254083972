from mlprune.steps.export.markdown import cell, rows_table, section, table


def test_a_table_has_a_line_for_each_row_below_its_heading():
    assert table(("a", "b"), [[1, "x"], [None, 0.5]]) == "| a | b |\n| --- | --- |\n| 1 | x |\n|  | 0.5 |"


def test_a_table_of_rows_shows_some_columns_and_nothing_where_a_row_lacks_one():
    rows = [{"set_id": "s", "other": 1}, {"n_tokens": 3}]
    assert rows_table(("set_id", "n_tokens"), rows).splitlines()[0] == "| set id | n tokens |"
    assert rows_table(("set_id", "n_tokens"), rows).splitlines()[2:] == ["| s |  |", "|  | 3 |"]
    assert rows_table(("set_id",), []) == ""


def test_no_text_ends_its_cell_or_line():
    assert cell("a|b\nc  d") == r"a\|b c d"
    assert cell(1 / 3) == "0.333333"


def test_a_section_without_a_body_is_left_out():
    assert section("Title", "text\n\n") == ("## Title\n", "text\n")
    assert section("Title", "") == ()
