import math
import re
from typing import Any

import pytest

from catalog.report.panels.differences import MAX_METHODS, change_heat_maps, difference_curves, seed_panels
from catalog.report.query_results import run_report_query
from catalog.store import Catalog
from mlprune.numeric.statistics.multiplicity import holm
from tests.catalog.report.rows import METHOD, POINT, TASK, Rows, drawn, grid, texts

ALPHA = 0.05


def test_marks_follow_holm_over_the_pooled_tests_of_the_variants(catalog: Catalog, rows: Rows) -> None:
    dense = {row["variant_id"] for row in rows["variants"] if row["sparsity"] == 0}
    wanted = {"task": "facts", "split": "test", "metric": "accuracy", "group_kind": "outside_english"}
    family = [row for row in rows["aggregate_results"] if wanted.items() <= row.items() and row["baseline_id"] in dense]
    sure = [
        row
        for row, p_corrected in zip(family, holm([row["p_value"] for row in family]), strict=True)
        if p_corrected < ALPHA
    ]
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


def points_of(catalog: Catalog, language: str, **wanted: Any) -> list[dict[str, Any]]:
    wanted |= {"task": "facts", "language": language, "sparsity": 0.5}
    points = run_report_query(catalog, "difference_by_sparsity").rows
    return [dict(row) for row in points if wanted.items() <= row.items()]


def test_the_point_of_a_pair_has_the_interval_of_its_only_variant(catalog: Catalog) -> None:
    points = points_of(catalog, "sw", score="wanda", set_kind="translation", propagation="dense")
    (mean,) = [row for row in points if row["is_mean_over_pairs"]]
    of_pair = {row["demonstration_label"]: row for row in points if not row["is_mean_over_pairs"]}
    assert sorted(of_pair) == ["es-en", "fr-en"]
    assert mean["difference"] == pytest.approx(sum(row["difference"] for row in of_pair.values()) / 2)
    assert mean["ci_low"] is None
    assert all(row["ci_low"] == pytest.approx(row["difference"] - 0.04) for row in of_pair.values())


def test_the_mean_outside_english_has_a_panel(catalog: Catalog) -> None:
    assert points_of(catalog, "outside_english", score="magnitude")
    (group, *_) = difference_curves([{**POINT, "language": name} for name in ("fr", "outside_english", "en")])
    titles = [next(text for text in texts(drawn(panel)) if "   dense" in text) for panel in group.panels]
    assert [title.split("   ")[0] for title in titles] == ["outside English", "en", "fr"]


def test_the_title_has_dense_and_chance_and_says_when_dense_is_at_a_limit() -> None:
    def title(**more: Any) -> str:
        (group,) = difference_curves([{**POINT, **more}])
        return next(text for text in texts(drawn(group.panels[0])) if text.startswith("fr "))

    assert title() == "fr   dense 0.400, chance 0.174"
    assert title(dense_limit="floor") == "fr   dense 0.400, not above chance 0.174"
    assert title(dense_limit="ceiling") == "fr   dense 0.400, chance 0.174, ceiling"
    assert title(chance=None) == "fr   dense 0.400"


def test_models_tasks_and_metrics_have_figures_of_their_own() -> None:
    points = [
        POINT,
        {**POINT, "task": "marc", "example_limit": 100},
        {**POINT, "base_model": "big", "base_model_id": "n"},
    ]
    points.append({**POINT, "task": "translation", "metric": "chrf", "language": "fr-en"})
    assert [group.title for group in difference_curves(points)] == [
        "tiny · xnli, test split: accuracy",
        "tiny · marc, test split, 100 examples: accuracy",
        "big · xnli, test split: accuracy",
        "tiny · translation, test split: chrF",
    ]


def test_headings_distinguish_several_scoring_rules_of_a_task() -> None:
    points = [POINT, {**POINT, "scoring_rule": "sum"}, {**POINT, "task": "marc"}]
    assert [group.title for group in difference_curves(points)] == [
        "tiny · xnli, test split, mean rule: accuracy",
        "tiny · xnli, test split, sum rule: accuracy",
        "tiny · marc, test split: accuracy",
    ]


def test_lines_with_settings_have_colours_of_their_own_and_are_named() -> None:
    points = [{**POINT, "settings": settings} for settings in (None, "paper profile", "removes the highest")]
    (group,) = difference_curves(points)
    assert [key.label for key in group.legend] == [
        "dense model",
        "wanda on translation, dense propagation",
        "wanda on translation, dense propagation, paper profile",
        "wanda on translation, dense propagation, removes the highest",
    ]
    assert len({key.colour for key in group.legend}) == 4
    svg = drawn(group.panels[0])
    assert all(key.colour.lower() in svg for key in group.legend)


def test_the_line_of_a_pair_is_hidden_at_first_and_a_mean_is_drawn_without_an_interval() -> None:
    mean = {**POINT, "ci_low": None, "ci_high": None}
    pair = {**POINT, "demonstration_label": "fr-en", "is_mean_over_pairs": False}
    (group,) = difference_curves([mean, pair])
    svg = drawn(group.panels[0])
    assert len(re.findall('<g data-score="wanda" data-mean data-key="0">', svg)) == 1
    assert len(re.findall('<g data-score="wanda" data-pair="fr-en" data-detail data-key="0" data-off>', svg)) == 3
    assert "fr-en" in texts(svg)


def test_perplexities_are_shown_as_ratios() -> None:
    row = {**POINT, "metric": "perplexity", "scale": "log_ratio", "chance": None}
    (group,) = difference_curves([{**row, "difference": math.log(8), "ci_low": 0.0, "ci_high": math.log(9)}])
    labels = texts(drawn(group.panels[0]))
    assert {"sparsity", "perplexity / dense", "1"} <= set(labels)
    assert {"2", "5"} <= set(labels)  # round ratios


def test_ratios_near_one_have_round_ticks() -> None:
    row = {**POINT, "metric": "perplexity", "scale": "log_ratio", "chance": None, "ci_low": None, "ci_high": None}
    (group,) = difference_curves([{**row, "difference": math.log(1.22)}])
    assert {"1", "1.05", "1.1", "1.15", "1.2"} <= set(texts(drawn(group.panels[0])))


ROW: dict[str, Any] = {**TASK, **METHOD, "method": "wanda fr-en", "group_kind": "language", "group_name": "fr"}
ROW |= {"n_seeds": 5, "difference": -0.02, "ci_low": -0.05, "ci_high": 0.01, "seed_deviation": 0.014}
ROW |= {"item_deviation": 0.025}


def test_deviations_are_the_roots_of_the_components_of_the_variance(catalog: Catalog, rows: Rows) -> None:
    stored = {
        (row["seed_components_id"], row["group_kind"], row["group_name"]): row
        for row in catalog.query("FROM seed_components WHERE metric = 'accuracy' AND split = 'test'")
    }
    shown = run_report_query(catalog, "seed_components").rows
    assert len(shown) == len(stored) > 0
    for row in shown:
        components = stored[row["seed_components_id"], row["group_kind"], row["group_name"]]
        for name in ("seed", "item"):
            variance = components[f"{name}_variance"]
            assert row[f"{name}_deviation"] == (None if variance is None else pytest.approx(max(variance, 0) ** 0.5))
        assert (row["difference"], row["ci_low"]) == (components["difference"], components["ci_low"])


def test_a_row_states_its_seeds_and_its_interval_in_the_text_for_screen_readers() -> None:
    mean = {**ROW, "group_kind": "outside_english", "group_name": "", "ci_low": None, "seed_deviation": None}
    (group,) = seed_panels([ROW, mean])
    labels = [panel.label for panel in group.panels]
    assert "fr: wanda fr-en 0.5 (5 seeds) −0.020 (−0.050 to +0.010)" in labels[0]
    assert labels[1].endswith("fr: wanda fr-en 0.5 (5 seeds) 0.014 and 0.025")
    assert labels[2].endswith("mean outside English: wanda fr-en 0.5 (5 seeds) −0.020")
    assert "wanda fr-en 0.5 (5 seeds)" in texts(drawn(group.panels[0]))
    assert "standard deviation" in texts(drawn(group.panels[3]))


def test_of_many_methods_an_even_selection_is_drawn() -> None:
    (group,) = seed_panels([{**ROW, "method": f"method {index}"} for index in range(MAX_METHODS + 3)])
    assert f"{MAX_METHODS} of {MAX_METHODS + 3} methods drawn" in group.panels[0].label
