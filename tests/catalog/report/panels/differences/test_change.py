from catalog.report.panels.differences.change import change_heat_maps
from catalog.report.query_results import run_report_query
from catalog.store import Catalog
from mlprune.numeric.statistics.multiplicity import holm
from tests.catalog.report.rows import METHOD, TASK, Rows, grid

ALPHA = 0.05


def test_marks_follow_holm_over_the_pooled_tests_of_the_variants(catalog: Catalog, rows: Rows) -> None:
    dense = {row["variant_id"] for row in rows["variants"] if row["sparsity"] == 0}
    wanted = {"task": "facts", "split": "test", "metric": "accuracy", "group_kind": "outside_english"}
    family = [row for row in rows["aggregate_results"] if wanted.items() <= row.items() and row["baseline_id"] in dense]
    sure = [row for row, p_holm in zip(family, holm([row["p_value"] for row in family]), strict=True) if p_holm < ALPHA]
    cells = [row for row in run_report_query(catalog, "change_to_dense").rows if row["demonstration_label"] is None]
    pooled = [row for row in cells if row["language"] == "outside_english"]
    assert {row["n_family"] for row in pooled} == {len(family)}
    assert sum(row["n_variants"] for row in pooled) == len(family)
    assert sum(row["n_significantly_better"] for row in pooled) == sum(row["difference"] > 0 for row in sure) > 0
    assert sum(row["n_significantly_worse"] for row in pooled) == sum(row["difference"] < 0 for row in sure) > 0
    of_languages = [row for row in cells if not row["is_pooled"]]
    assert {row["language"] for row in of_languages} == {"en", "es", "fr", "sw"}
    assert all(row["n_significantly_better"] == row["n_significantly_worse"] == 0 for row in of_languages)


def test_random_pruning_does_not_set_the_colours_and_groups_of_languages_are_on_top() -> None:
    cell = {**TASK, **METHOD, "intervention": None, "n_variants": 1, "n_significantly_better": 0}
    cell |= {"n_significantly_worse": 0, "difference": -0.05}
    lost = {**cell, "score": "random", "set_kind": None, "difference": -0.6}
    (group,) = change_heat_maps([cell, {**cell, "language": "outside_english"}, lost])
    assert grid(group.panels[0]).scale.high == 0.05
    assert grid(group.panels[0]).rows == ("outside English", "fr")
    (alone,) = change_heat_maps([lost])
    assert grid(alone.panels[0]).scale.high == 0.6


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
