import math
import re
from typing import Any

import pytest

from catalog.report.panels.differences import MAX_METHODS, difference_curves, seed_panels
from catalog.report.query_results import run_report_query
from catalog.store import Catalog
from mlprune.numeric.statistics.multiplicity import holm
from tests.catalog.report.rows import METHOD, POINT, TASK, Rows, drawn, texts

ALPHA = 0.05


def test_tests_of_the_variants_are_corrected_over_their_family(catalog: Catalog, rows: Rows) -> None:
    dense = {row["variant_id"] for row in rows["variants"] if row["sparsity"] == 0}
    wanted = {"task": "facts", "split": "test", "metric": "accuracy", "group_kind": "outside_english"}
    family = [row for row in rows["aggregate_results"] if wanted.items() <= row.items() and row["baseline_id"] in dense]
    n_significant = sum(p_corrected < ALPHA for p_corrected in holm([row["p_value"] for row in family]))
    points = [row for row in run_report_query(catalog, "difference_by_sparsity").rows if row["metric"] == "accuracy"]
    pooled = [row for row in points if row["language"] == "outside_english" and row["demonstration_label"] is None]
    assert sum(row["n_variants"] for row in pooled) == len(family)
    assert sum(row["n_significant"] for row in pooled) == n_significant > 0


def test_the_mark_of_a_point_is_pale_unless_all_its_variants_differ_significantly() -> None:
    point = {**POINT, "ci_low": None, "ci_high": None, "n_variants": 2}
    for n_significant, is_pale in ((0, True), (1, True), (2, False)):
        (group,) = difference_curves([{**point, "n_significant": n_significant}])
        assert ("fill-opacity: 0.35" in drawn(group.panels[0])) is is_pale


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
    titles = [next(text for text in texts(drawn(panel)) if " · dense" in text) for panel in group.panels]
    assert [title.split(" · ")[0] for title in titles] == ["outside English", "en", "fr"]


def test_the_title_has_dense_and_chance_and_says_when_dense_is_at_a_limit() -> None:
    def title(**more: Any) -> str:
        (group,) = difference_curves([{**POINT, **more}])
        return next(text for text in texts(drawn(group.panels[0])) if text.startswith("fr "))

    assert title() == "fr · dense 0.400, chance 0.174"
    assert title(dense_limit="floor") == "fr · dense 0.400, not above chance 0.174"
    assert title(dense_limit="ceiling") == "fr · dense 0.400, chance 0.174, ceiling"
    assert title(chance=None) == "fr · dense 0.400"


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
        "wanda on translation",
        "wanda on translation, paper profile",
        "wanda on translation, removes the highest",
    ]
    assert len({(key.colour, key.is_hollow) for key in group.legend}) == 4
    svg = drawn(group.panels[0])
    assert all(key.colour.lower() in svg for key in group.legend)


def test_the_line_of_a_pair_is_hidden_at_first_and_a_mean_is_drawn_without_an_interval() -> None:
    mean = {**POINT, "ci_low": None, "ci_high": None}
    pair = {**POINT, "demonstration_label": "fr-en", "is_mean_over_pairs": False}
    (group,) = difference_curves([mean, pair])
    svg = drawn(group.panels[0])
    assert len(re.findall('<g data-score="wanda" data-mean data-key="0">', svg)) == 2  # line and marks
    assert len(re.findall('<g data-score="wanda" data-pair="fr-en" data-detail data-key="0" data-off>', svg)) == 4
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
    assert labels[1].endswith("fr: wanda fr-en 0.5 (5 seeds) due to the seed 0.014, due to the items 0.025")
    assert labels[2].endswith("mean outside English: wanda fr-en 0.5 (5 seeds) −0.020")
    assert "wanda fr-en 0.5 (5 seeds)" in texts(drawn(group.panels[0]))
    assert "mean outside English: standard deviation" in " ".join(texts(drawn(group.panels[3])))


def test_of_many_methods_an_even_selection_is_drawn() -> None:
    (group,) = seed_panels([{**ROW, "method": f"method {index}"} for index in range(MAX_METHODS + 3)])
    assert f"{MAX_METHODS} of {MAX_METHODS + 3} methods drawn" in group.panels[0].label
