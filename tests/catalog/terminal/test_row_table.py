from catalog.results import QueryResult
from catalog.terminal.row_table import fitting_widths, full_widths, row_table
from catalog.terminal.shown_columns import ShownColumn, shown_columns

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
