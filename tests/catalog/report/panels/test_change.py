from catalog.report.panels.change import change_heat_maps
from catalog.report.query_results import run_report_query
from catalog.store import Catalog
from tests.catalog.families import exploratory, key_of
from tests.catalog.report.rows import METHOD, TASK, Rows, grid


def test_significance_marks_follow_holm_over_all_comparisons_of_the_figure(catalog: Catalog, rows: Rows) -> None:
    dense = {row["variant_id"] for row in rows["variants"] if row["sparsity"] == 0}
    family = [
        row
        for row in rows["comparison_results"]
        if (row["task"], row["split"], row["metric"]) == ("facts", "test", "accuracy") and row["baseline_id"] in dense
    ]
    families = exploratory(rows)
    sure = [row for row in family if families[key_of(row)].p_holm < 0.05]
    rows_told = run_report_query(catalog, "change_to_dense").rows
    cells = [row for row in rows_told if row["demonstration_label"] is None]
    of_pairs = [row for row in rows_told if row["demonstration_label"] is not None or not row["is_mean_over_pairs"]]
    assert {row["n_family"] for row in cells} == {len(family)}
    assert sum(row["n_significantly_better"] for row in cells) == sum(row["difference"] > 0 for row in sure) > 0
    assert sum(row["n_significantly_worse"] for row in cells) == sum(row["difference"] < 0 for row in sure) > 0
    for answer_rows in (cells, of_pairs):
        assert sum(row["n_variants"] for row in answer_rows) == len(family)
    assert sum(row["n_significantly_better"] for row in of_pairs) == sum(row["difference"] > 0 for row in sure)


def test_a_cell_is_marked_twice_when_all_its_variants_differ_and_once_when_some_do() -> None:
    cells = [
        {**TASK, **METHOD, "intervention": None, "sparsity": sparsity, "n_variants": 2, "difference": difference}
        | {"n_significantly_better": better, "n_significantly_worse": worse}
        for sparsity, difference, better, worse in ((0.1, 0.2, 2, 0), (0.3, -0.1, 0, 1), (0.5, -0.001, 0, 0))
    ]
    (group,) = change_heat_maps(cells)
    assert list(grid(group.panels[0]).texts.values()) == ["+0.20**", "−0.10*", "0.00"]


def test_changes_of_methods_with_other_settings_have_panels_of_their_own() -> None:
    cell = {**TASK, **METHOD, "intervention": None, "n_variants": 1, "difference": 0.1}
    cell |= {"n_significantly_better": 0, "n_significantly_worse": 0}
    settings = "union of wanda on fr-en and wanda on es-en"
    (group,) = change_heat_maps([cell, {**cell, "settings": settings}])
    assert len(group.panels) == 2
    assert grid(group.panels[1]).title == f"wanda on translation, dense propagation, {settings}"
