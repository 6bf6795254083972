import pytest

from catalog.report.panels.languages.breaking import MAX_METHODS, breaking_tables, interval_text
from catalog.report.query_results import run_report_query
from catalog.store import Catalog
from tests.catalog.report.rows import METHOD, TASK, grid

CELL = {**TASK, **METHOD, "intervention": None, "method": "wanda fr-en", "shots": 4, "samples": 48, "n_variants": 1}
CELL |= {"demonstration_label": "fr-en", "last_not_below": 0.2, "first_below": 0.3, "n_not_below_after": 0, "n": 150}
CELL |= {"n_family": 318, "detectable_difference": 0.11, "difference": -0.2, "p_holm": 0.01}


def test_the_breaking_sparsity_lies_between_the_last_that_is_not_below_and_the_first_that_is(catalog: Catalog) -> None:
    curves: dict[tuple[str, str], dict[float, list[bool]]] = {}
    for row in catalog.query(
        "SELECT c.*, v.method, v.sparsity FROM changes_to_dense AS c JOIN described_variants AS v USING (variant_id) "
        "WHERE c.task = 'facts' AND c.split = 'test' AND c.metric = 'accuracy' AND NOT v.is_dense"
    ):
        is_below = row["change"] == "loss" and row["p_holm"] < 0.05
        curves.setdefault((row["method"], row["language"]), {}).setdefault(row["sparsity"], []).append(is_below)
    shown = run_report_query(catalog, "breaking_sparsity").rows
    assert len(shown) == len(curves)
    assert {row["first_below"] is None for row in shown} == {True, False}
    for row in shown:
        levels = curves[row["method"], row["language"]]
        below = [sparsity for sparsity in sorted(levels) if all(levels[sparsity])]
        assert row["first_below"] == (below[0] if below else None)
        before = [sparsity for sparsity in levels if not below or sparsity < below[0]]
        assert row["last_not_below"] == max(before, default=0)


@pytest.mark.parametrize(
    ("last", "first", "n_after", "text"),
    [(0.2, 0.3, 0, "0.2–0.3"), (0.0, 0.1, 0, "≤ 0.1"), (0.6, None, 0, "> 0.6"), (0.2, 0.3, 1, "0.2–0.3†")],
)
def test_intervals_that_are_open_at_an_end_say_so(last: float, first: float | None, n_after: int, text: str) -> None:
    assert interval_text({"last_not_below": last, "first_below": first, "n_not_below_after": n_after}) == text


def test_the_heading_says_what_could_have_been_found() -> None:
    rows = [{**CELL, "method": f"wanda {index}", "language": "fr"} for index in range(MAX_METHODS + 1)]
    (group,) = breaking_tables([*rows, {**CELL, "language": "en", "n": 40, "detectable_difference": None}])
    assert group.note.startswith("40 to 150 items. ")
    assert "A single test finds a true difference of 0.110 with a power of 80 %." in group.note
    assert group.note.endswith("Every set is a single draw of demonstrations.")
    assert "at most 318 tests" in group.note
    table = grid(group.panels[0])
    assert table.columns == ("en", "fr")
    assert len(table.rows) == MAX_METHODS
    assert f"{MAX_METHODS} of {MAX_METHODS + 2} methods drawn" in group.title
