"""Tables fit any width, and say what they do not show."""

import json
from collections.abc import Iterator

import pytest
from rich.cells import cell_len

from catalog.queries import answer_user_query
from catalog.results import QueryResult
from catalog.sql_files import list_queries
from catalog.store import Catalog
from catalog.terminal import TableOptions, preview, to_table
from catalog.terminal.columns import ShownColumn, shown_columns
from catalog.terminal.result_table import (
    fitting_widths,
    folded,
    folded_line,
    folded_list,
    folded_name,
    full_widths,
    longest_piece,
    padded,
    render,
    row_blocks,
    row_table,
    width_of,
)
from infra.pages.frozen import thawed
from mlprune.errors import QueryError


def test_texts_are_broken_between_words_and_long_words_between_characters() -> None:
    assert folded("one two three", 7) == ["one two", "three"]
    assert folded("abcdefghij k", 4) == ["abcd", "efgh", "ij", "k"]
    assert folded("a\nb", 9) == ["a", "b"]


def test_wide_characters_count_two_cells() -> None:
    lines = folded("剪枝的语言模型", 5)
    assert "".join(lines) == "剪枝的语言模型"
    assert max(map(cell_len, lines)) <= 5
    assert width_of("剪\nabc") == 3
    assert padded("剪", 4, is_right=True) == "  剪"


def test_names_are_broken_after_underscores() -> None:
    assert folded_name("n_significantly_better", 15) == ["n_", "significantly_", "better"]
    assert longest_piece("n_significantly_better") == len("significantly_")
    assert "".join(folded_name("count_star()", 6)) == "count_star()"


def test_lists_are_broken_between_items() -> None:
    assert folded_list(["task facts", "split test", "n 150"], 18) == ["task facts;", "split test; n 150"]
    assert max(map(len, folded_list(["settings " + "x" * 40, "n 1"], 20))) <= 20


def test_lines_of_a_report_are_indented_like_the_text_after_their_label() -> None:
    assert folded_line("memory: about 2 GiB per actor", 24) == ["memory: about 2 GiB per", "        actor"]
    assert folded_line("  failed: one two three", 24) == ["  failed: one two three"]
    assert folded_line("a sentence without any label", 20) == ["a sentence without", "  any label"]
    assert (
        folded_line("a_very_long_name: of a query", 20) == ["a_very_long_name: ", "  of a query"]
        or max(map(len, folded_line("a_very_long_name: of a query", 20))) <= 20
    )


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


RESULT = QueryResult(
    ("label", "n_examples_skipped", "value", "ci_low", "ci_high"),
    (("wanda on fr-en, sparsity 0.2", 3, 0.28, 0.207, 0.353), ("dense", 12, 0.3, 0.2, 0.4)),
)


def columns() -> list[ShownColumn]:
    return shown_columns(RESULT, digits=None, id_length=8)


def lines(width: int, *, n_lines: int = 1) -> list[str]:
    widths = fitting_widths(columns(), width, n_lines=n_lines)
    assert widths is not None
    return row_table(columns(), widths)


def test_a_table_that_fits_has_one_line_per_row_with_numbers_on_the_right() -> None:
    assert lines(80) == [
        "label                         n_examples_skipped                   value",
        "────────────────────────────  ──────────────────  ──────────────────────",
        "wanda on fr-en, sparsity 0.2                   3  0.280 (0.207 to 0.353)",
        "dense                                         12  0.300 (0.200 to 0.400)",
    ]


def test_names_are_folded_before_texts_and_intervals_are() -> None:
    assert lines(64) == [
        "                                      n_",
        "                               examples_",
        "label                            skipped                   value",
        "────────────────────────────  ──────────  ──────────────────────",
        "wanda on fr-en, sparsity 0.2           3  0.280 (0.207 to 0.353)",
        "dense                                 12  0.300 (0.200 to 0.400)",
    ]
    assert fitting_widths(columns(), 62) is None


def test_folded_texts_and_intervals_stay_within_the_width_and_the_number_of_lines() -> None:
    assert lines(45, n_lines=2)[3:] == [
        "────────────────  ─────────  ────────────────",
        "wanda on fr-en,           3             0.280",
        "sparsity 0.2                 (0.207 to 0.353)",
        "dense                    12             0.300",
        "                             (0.200 to 0.400)",
    ]
    assert fitting_widths(columns(), 41, n_lines=2) is None
    assert fitting_widths(columns(), 41, n_lines=3) == [12, 9, 16]
    assert fitting_widths(columns(), 40, n_lines=3) is None


def test_full_widths_fold_nothing() -> None:
    widths = full_widths(columns())
    assert widths[1] == len("n_examples_skipped")


IDS = ("3e395151aa0123456789", "f95eee46aa0123456789", "b8f61397aa0123456789")
CHANGES = QueryResult(
    ("label", "language", "score", "sparsity", "difference", "ci_low", "ci_high", "p_value", "settings", "variant_id"),
    (
        ("wanda on fr-en, sparsity 0.2", "fr", "wanda", 0.2, -1 / 150, -0.03, 0.02, 1.0, None, IDS[0]),
        ("magnitude, sparsity 0.5", "fr", "magnitude", 0.5, -0.2, -0.3, -0.1, 1e-12, None, IDS[1]),
        ("dense", "fr", None, 0.0, 0.0, 0.0, 0.0, None, None, IDS[2]),
    ),
)


@pytest.fixture(scope="module")
def demo() -> Iterator[Catalog]:
    with thawed("demo") as store, Catalog.in_memory(store) as catalog:
        yield catalog


def test_columns_without_information_are_in_a_caption_and_ids_are_short() -> None:
    assert to_table(CHANGES, TableOptions(120)).splitlines() == [
        "language fr",
        "empty: settings",
        "",
        "label                         score      sparsity                 difference  p_value  variant_id",
        "────────────────────────────  ─────────  ────────  ─────────────────────────  ───────  ──────────",
        "wanda on fr-en, sparsity 0.2  wanda           0.2  -0.007 (-0.030 to +0.020)    1.00   3e395151",
        "magnitude, sparsity 0.5       magnitude       0.5  -0.200 (-0.300 to -0.100)   <0.001  f95eee46",
        "dense                                         0.0   0.000 ( 0.000 to  0.000)           b8f61397",
        "",
        "3 rows; ids are shortened (--wide shows everything)",
    ]


def test_a_named_query_leaves_out_what_the_label_says_and_then_other_ids() -> None:
    table = to_table(CHANGES, TableOptions(84, may_omit=True))
    assert "not shown: score, sparsity; ids are shortened (--wide shows everything)" in table
    assert table.splitlines()[3].split() == ["label", "difference", "p_value", "variant_id"]
    assert "not shown: score, sparsity, variant_id (--wide shows everything)" in to_table(
        CHANGES, TableOptions(44, may_omit=True)
    ).replace("\n", " ")


def test_columns_that_a_user_chose_are_never_left_out() -> None:
    for width in (30, 44, 60, 84):
        table = to_table(CHANGES, TableOptions(width))
        assert "not shown" not in table
        assert all(cell_len(line) <= width for line in table.splitlines())
        assert all(text in table for text in ("magnitude", "-0.007", "0.2", "3e395151", "<0.001"))


def test_rows_that_do_not_fit_become_blocks() -> None:
    lines = to_table(CHANGES, TableOptions(40)).splitlines()
    assert lines[3:7] == [
        "row 1 of 3 ───────────",
        "label       wanda on fr-en, sparsity 0.2",
        "score       wanda",
        "sparsity    0.2",
    ]
    assert lines[-2:] == ["3 rows; ids are shortened (--wide shows", "everything)"]


def test_a_wide_table_has_every_column_and_ids_in_full() -> None:
    lines = to_table(CHANGES, TableOptions(40, is_wide=True)).splitlines()
    assert lines[0].split() == [
        "label",
        "language",
        "score",
        "sparsity",
        "difference",
        "p_value",
        "settings",
        "variant_id",
    ]
    assert [IDS[row] in lines[2 + row] for row in range(3)] == [True, True, True]
    assert lines[5:] == ["", "3 rows"]


def test_digits_set_the_decimals() -> None:
    assert "-0.00667 (-0.03000 to +0.02000)" in to_table(CHANGES, TableOptions(100, digits=5))


def test_many_values_that_are_the_same_everywhere_are_listed_below_each_other() -> None:
    names = tuple(f"setting_{n}" for n in range(20))
    lines = to_table(
        QueryResult((*names, "n"), tuple((*("text",) * 20, n) for n in (1, 2))), TableOptions()
    ).splitlines()
    assert lines[:2] == ["setting_0   text", "setting_1   text"]


def test_equal_rows_keep_a_column_and_a_single_row_keeps_all() -> None:
    assert to_table(QueryResult(("a", "b"), ((1, 2), (1, 2))), TableOptions()).splitlines() == [
        *("b 2", "", "a", "─", "1", "1", "", "2 rows"),
    ]
    assert to_table(QueryResult(("a", "b"), ((1, None),)), TableOptions()).splitlines() == [
        *("empty: b", "", "a", "─", "1", "", "1 row"),
    ]
    assert to_table(QueryResult(("a",), ((None,),)), TableOptions()).splitlines() == ["a", "─", "", "", "1 row"]


def test_a_table_without_rows_is_a_sentence_with_its_columns() -> None:
    assert to_table(QueryResult(("only_column",), ()), TableOptions()) == "No rows; the columns are only_column"


def test_every_character_of_a_long_text_is_shown_and_markup_is_text() -> None:
    table = to_table(QueryResult(("name", "value"), (("x" * 500, 1 / 3), ("[bold]", 0.5))), TableOptions(50))
    assert table.count("x") == 500
    assert "[bold]" in table


def test_no_line_of_a_named_query_is_wider_than_the_terminal(demo: Catalog) -> None:
    ids = {
        "evaluation_id": "SELECT min(evaluation_id) FROM evaluations",
        "variant_id": "SELECT max(variant_id) FROM variants",
        "environment_id": "SELECT min(environment_id) FROM environments",
    }
    values = {name: demo.select(sql).rows[0][0] for name, sql in ids.items()}
    n_tables = 0
    for query in list_queries():
        missing = [parameter.name for parameter in query.parameters if parameter.required]
        if query.reads or "item_answers(" in query.sql or not set(missing) <= set(values):
            continue  # a frozen store has no predictions
        result = answer_user_query(demo, query.name, [f"{name}={values[name]}" for name in missing]).result
        sample = QueryResult(result.columns, result.rows[:30] + result.rows[-30:])
        for width in (60, 120):
            table = to_table(sample, TableOptions(width, may_omit=True))
            assert max(map(cell_len, table.splitlines())) <= width, query.name
            assert f"{len(sample.rows)} row" in table or (not sample.rows and table.startswith("No rows")), query.name
        n_tables += bool(sample.rows)
    assert n_tables > 30


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


RESULT_FORMATS_RESULT = QueryResult(("variant_id", "value"), (("3e395151aa0123456789", 0.1 + 0.2),))


def test_options_of_tables_do_not_touch_the_exact_formats() -> None:
    options = TableOptions(20, digits=1)
    assert json.loads(render(RESULT_FORMATS_RESULT, "json", options=options)) == RESULT_FORMATS_RESULT.as_dicts()
    assert (
        render(RESULT_FORMATS_RESULT, "csv", options=options)
        == "variant_id,value\n3e395151aa0123456789,0.30000000000000004"
    )
    assert "0.3\n" in render(RESULT_FORMATS_RESULT, "table", options=options)


def test_an_unknown_format_is_an_error() -> None:
    with pytest.raises(QueryError, match="no such format"):
        render(RESULT_FORMATS_RESULT, "xml")
