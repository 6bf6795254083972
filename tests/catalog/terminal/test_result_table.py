"""Tables fit any width, and say what they do not show."""

import json
from collections.abc import Iterator

import pytest
from rich.cells import cell_len

from catalog.queries import answer_user_query
from catalog.results import QueryResult
from catalog.sql_files import list_queries
from catalog.store import Catalog
from catalog.terminal import TableOptions, format_text, preview, to_table
from catalog.terminal.result_table import render
from infra.pages.frozen import thawed
from mlprune.errors import QueryError


def test_long_lines_are_folded_and_indented_like_the_text_after_their_label() -> None:
    assert format_text("memory: about 2 GiB per actor", width=24) == "memory: about 2 GiB per\n        actor"
    assert format_text("  failed: one two three", width=24) == "  failed: one two three"
    assert format_text("a sentence without any label", width=20) == "a sentence without\n  any label"
    for text in ("a_very_long_name: of a query", "剪枝的语言模型" * 9, "x" * 50):
        lines = format_text(text, width=20).splitlines()
        assert max(map(cell_len, lines)) <= 20
        assert "".join(line.strip() for line in lines).replace(" ", "") == text.replace(" ", "")


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


def test_a_table_has_the_columns_that_vary_and_short_ids() -> None:
    assert to_table(CHANGES, TableOptions(120)).splitlines() == [
        "language fr",
        "label                         score      sparsity                 difference  p_value  variant_id",
        "─────────────────────────────────────────────────────────────────────────────────────────────────",
        "wanda on fr-en, sparsity 0.2  wanda           0.2  -0.007 (-0.030 to +0.020)    1.00   3e395151",
        "magnitude, sparsity 0.5       magnitude       0.5  -0.200 (-0.300 to -0.100)   <0.001  f95eee46",
        "dense                                         0.0   0.000 ( 0.000 to  0.000)           b8f61397",
        "3 rows, 7 of 8 columns (--wide); not shown: settings",
    ]


def test_columns_that_do_not_fit_are_named_those_that_the_label_says_and_ids_first() -> None:
    table = to_table(CHANGES, TableOptions(63)).splitlines()
    assert table[1].split() == ["p_"]
    assert table[2].split() == ["label", "difference", "value"]
    assert " ".join(table[-2:]).endswith("4 of 8 columns (--wide); not shown: score, sparsity, settings, variant_id")
    assert to_table(CHANGES, TableOptions(30)).splitlines()[1].split() == ["label"]


def test_columns_of_most_interest_come_before_the_others() -> None:
    table = to_table(CHANGES, TableOptions(50, first=("score", "difference"))).splitlines()
    assert table[1].split() == ["score", "difference", "p_value"]
    assert "label" in " ".join(table[-2:])


def test_at_most_some_rows_are_shown_and_the_number_of_all_is_told() -> None:
    result = QueryResult(("n", "even"), tuple((n, n % 2 == 0) for n in range(1000)))
    lines = to_table(result, TableOptions(80, n_rows=20)).splitlines()
    assert len(lines) == 23
    assert lines[-1] == "20 of 1,000 rows (--rows all)"
    assert len(to_table(result, TableOptions(80)).splitlines()) == 1003


def test_a_value_that_differs_below_the_shown_rows_is_not_called_the_same_everywhere() -> None:
    result = QueryResult(("n", "task"), tuple((n, "facts" if n < 50 else "xnli") for n in range(60)))
    assert to_table(result, TableOptions(80, n_rows=20)).splitlines()[0] == " n  task"


def test_a_table_of_20_rows_has_at_most_25_lines_and_says_how_many_columns_it_does_not_name() -> None:
    names = tuple(f"a_long_name_of_column_{n}" for n in range(40))
    result = QueryResult(("task", *names), tuple(("facts", *range(row, row + 40)) for row in range(30)))
    lines = to_table(result, TableOptions(80, n_rows=20)).splitlines()
    assert len(lines) == 25
    assert "of 41 columns (--wide)" in lines[-1]


def test_a_vertical_table_has_one_line_per_value_that_is_not_empty() -> None:
    lines = to_table(CHANGES, TableOptions(50, layout="vertical")).splitlines()
    assert lines[:6] == [
        "row 1 of 3  ──────────",
        "label       wanda on fr-en, sparsity 0.2",
        "language    fr",
        "score       wanda",
        "sparsity    0.2",
        "difference  -0.007 (-0.030 to +0.020)",
    ]
    assert IDS[0] in lines[7]
    assert lines[-1] == "3 rows"
    narrow = to_table(QueryResult(("name", "n"), (("x" * 50, 1),)), TableOptions(24, layout="vertical"))
    assert max(map(len, narrow.splitlines())) <= 24
    assert narrow.count("x") == 50


def test_a_wide_table_has_every_column_and_ids_in_full() -> None:
    lines = to_table(CHANGES, TableOptions(40, layout="wide")).splitlines()
    names = ["label", "language", "score", "sparsity", "difference", "p_value", "settings", "variant_id"]
    assert lines[0].split() == names
    assert [IDS[row] in lines[2 + row] for row in range(3)] == [True, True, True]
    assert lines[5:] == ["3 rows"]


def test_digits_set_the_decimals() -> None:
    assert "-0.00667 (-0.03000 to +0.02000)" in to_table(CHANGES, TableOptions(100, digits=5))


def test_equal_rows_keep_a_column_and_a_single_row_keeps_all() -> None:
    assert to_table(QueryResult(("a", "b"), ((1, 2), (1, 2))), TableOptions()).splitlines() == [
        *("b 2", "a", "─", "1", "1", "2 rows"),
    ]
    assert to_table(QueryResult(("a", "b"), ((1, 2),)), TableOptions()).splitlines() == [
        "a  b",
        "────",
        "1  2",
        "1 row",
    ]
    assert to_table(QueryResult(("a",), ((None,),)), TableOptions()).splitlines() == ["a", "─", "", "1 row"]


def test_the_columns_of_own_sql_stay_in_the_table_also_constant_and_empty_ones() -> None:
    result = QueryResult(("a", "b", "c"), ((1, 2, None), (3, 2, None)))
    options = TableOptions(is_user_sql=True)
    assert to_table(result, options).splitlines() == ["a  b  c", "───────", "1  2", "3  2", "2 rows"]
    assert preview(result, options, n_rows=2).splitlines()[0].split() == ["a", "b", "c"]


def test_an_interval_of_own_sql_stays_with_the_column_that_it_has_in_its_view(demo: Catalog) -> None:
    sql = "SELECT language, difference, difference / 100 AS per_point, {} FROM differences WHERE metric = 'accuracy'"
    for ends, columns in {
        "ci_low, ci_high": {"language", "difference", "per_point"},
        "-1.0 AS ci_low, -0.5 AS ci_high": {"language", "difference", "per_point", "ci_low", "ci_high"},
    }.items():
        answer = answer_user_query(demo, sql.format(ends))
        options = TableOptions(is_user_sql=answer.is_user_sql, interval_owners=answer.interval_owners, n_rows=3)
        assert set(to_table(answer.result, options).splitlines()[0].split()) == columns


def test_an_interval_that_could_be_of_two_tables_is_not_joined(demo: Catalog) -> None:
    sql = "SELECT m.value, d.difference, m.ci_low, m.ci_high FROM metrics m JOIN differences d USING (variant_id)"
    assert answer_user_query(demo, sql).interval_owners == {}
    alone = answer_user_query(demo, "SELECT value, ci_low, ci_high FROM metrics")
    assert alone.interval_owners == {"ci_low": "value"}
    assert answer_user_query(demo, "best_by_language").interval_owners is None


def test_a_view_can_be_described_with_its_six_columns(demo: Catalog) -> None:
    answer = answer_user_query(demo, "DESCRIBE differences")
    lines = to_table(answer.result, TableOptions(80, is_user_sql=answer.is_user_sql, n_rows=20)).splitlines()
    assert lines[0].split() == ["column_name", "column_type", "null", "key", "default", "extra"]


def test_a_table_without_rows_is_a_sentence_with_its_columns() -> None:
    assert to_table(QueryResult(("only_column",), ()), TableOptions()) == "No rows; the columns are only_column"


def test_a_long_text_is_cut_to_the_room_that_is_left_and_markup_is_text() -> None:
    result = QueryResult(("name", "value"), (("x" * 500, 1 / 3), ("[bold]\nred", 0.5)))
    lines = to_table(result, TableOptions(60)).splitlines()
    assert lines[2] == "x" * 52 + "…  0.333"
    assert lines[3].startswith("[bold] red")
    assert to_table(result, TableOptions(60, layout="wide")).count("x") == 500


def test_wide_characters_count_two_cells() -> None:
    lines = to_table(QueryResult(("a", "b"), (("剪枝的语言模型", "x"), ("abc", "y"))), TableOptions(80)).splitlines()
    assert lines[2:4] == ["剪枝的语言模型  x", "abc             y"]


@pytest.mark.thorough("fills and folds catalogs of its own")
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
            table = to_table(sample, TableOptions(width, n_rows=20))
            assert max(map(cell_len, table.splitlines())) <= width, query.name
            assert len(table.splitlines()) <= 25, query.name
            assert f"{len(sample.rows)} row" in table or (not sample.rows and table.startswith("No rows")), query.name
        n_tables += bool(sample.rows)
    assert n_tables > 20


COLUMNS = ("label", "value", "ci_low", "ci_high", "note", "empty")
ROWS = tuple((f"variant {number}", 0.5, 0.4, 0.6, "long\ntext " * 9, None) for number in range(3))


@pytest.mark.parametrize("width", [20, 50, 120])
def test_every_row_is_one_line_that_fits(width: int) -> None:
    lines = preview(QueryResult(COLUMNS, ROWS), TableOptions(width), n_rows=7).splitlines()
    assert max(map(len, lines)) <= max(width, 20)
    assert sum(line.startswith("variant") for line in lines) == 3
    text = " ".join(lines)
    assert "the first 3 of 7 rows" in text
    assert "empty" in text.partition("more columns")[2]
    assert ("0.500 (0.400 to 0.600)" in text) == (width >= 50)


def test_no_rows_name_the_columns_and_controls_are_escaped() -> None:
    assert "label, value" in preview(QueryResult(COLUMNS, ()), TableOptions(80), n_rows=0)
    assert "\x1b" not in preview(QueryResult(("a\x1b", "b"), (("\x1b[2J", 1),)), TableOptions(80), n_rows=1)


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


def test_the_columns_of_most_interest_are_all_shown_with_texts_that_tell_rows_apart() -> None:
    names = ("question", "remark", "label", "p")
    rows = tuple(
        (f"a question with a long name {question}", "x" * 30, f"wanda sw-en 0.4, seed {seed}", 0.01)
        for question in ("one", "two")
        for seed in (1, 2)
    )
    lines = to_table(QueryResult(names, rows), TableOptions(width=44, first=("question", "label", "p"))).splitlines()
    assert ["question", "label"] in [line.split() for line in lines]
    shown = [line for line in lines if "…" in line]
    assert len(set(shown)) == len(rows)
    assert all(len(line) <= 44 for line in shown)
