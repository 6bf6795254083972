"""Tables fit any width, and say what they do not show."""

from collections.abc import Iterator

import pytest
from rich.cells import cell_len

from catalog.queries import answer_user_query, list_queries
from catalog.results import QueryResult
from catalog.store import Catalog
from catalog.terminal import TableOptions, to_table
from infra.pages.frozen import thawed

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
        for width in (60, 80, 120, 200):
            table = to_table(sample, TableOptions(width, may_omit=True))
            assert max(map(cell_len, table.splitlines())) <= width, query.name
            assert f"{len(sample.rows)} row" in table or (not sample.rows and table.startswith("No rows")), query.name
        n_tables += bool(sample.rows)
    assert n_tables > 30
