import re

import pytest

from catalog.report.panels.curves import quality_curves
from catalog.report.query_results import run_report_query
from catalog.store import Catalog
from tests.catalog.report.rows import DENSE, POINT, Rows, drawn, texts


def test_points_of_the_curves_are_means_over_the_variants_of_a_method(catalog: Catalog, rows: Rows) -> None:
    variants = {row["variant_id"]: row for row in rows["variants"]}
    values = [
        row
        for row in rows["metrics"]
        if (row["task"], row["split"], row["metric"], row["language"]) == ("facts", "test", "accuracy", "sw")
        and variants[row["variant_id"]]["score"] == "random"
        and variants[row["variant_id"]]["sparsity"] == 0.5
    ]
    (point,) = [
        row
        for row in run_report_query(catalog, "quality_by_sparsity").rows
        if (row["task"], row["language"], row["score"], row["sparsity"]) == ("facts", "sw", "random", 0.5)
    ]
    assert point["n_variants"] == len(values) == 2
    assert point["value"] == pytest.approx(sum(row["value"] for row in values) / 2)
    assert point["ci_low"] == min(row["ci_low"] for row in values)
    assert point["ci_high"] == max(row["ci_high"] for row in values)


def test_a_single_point_without_an_interval_is_drawn() -> None:
    (group,) = quality_curves([{**POINT, "ci_low": None, "ci_high": None}])
    assert "fr" in texts(drawn(group.panels[0]))
    assert [key.label for key in group.legend] == ["wanda on translation, dense propagation"]


def test_models_tasks_and_metrics_have_figures_of_their_own() -> None:
    points = [
        POINT,
        {**POINT, "task": "marc", "example_limit": 100},
        {**POINT, "base_model": "big", "base_model_id": "n"},
    ]
    points.append({**POINT, "task": "translation", "metric": "chrf", "language": "fr-en"})
    assert [group.title for group in quality_curves(points)] == [
        "tiny · xnli, test split: accuracy",
        "tiny · marc, test split, 100 examples: accuracy",
        "big · xnli, test split: accuracy",
        "tiny · translation, test split: chrF",
    ]


def test_headings_distinguish_several_scoring_rules_of_a_task() -> None:
    points = [POINT, {**POINT, "scoring_rule": "sum"}, {**POINT, "task": "marc"}]
    assert [group.title for group in quality_curves(points)] == [
        "tiny · xnli, test split, mean rule: accuracy",
        "tiny · xnli, test split, sum rule: accuracy",
        "tiny · marc, test split: accuracy",
    ]


def test_lines_with_settings_have_colours_of_their_own_and_are_named() -> None:
    points = [{**POINT, "settings": settings} for settings in (None, "paper profile", "removes the highest")]
    (group,) = quality_curves(points)
    assert [key.label for key in group.legend] == [
        "wanda on translation, dense propagation",
        "wanda on translation, dense propagation, paper profile",
        "wanda on translation, dense propagation, removes the highest",
    ]
    assert len({key.colour for key in group.legend}) == 3
    svg = drawn(group.panels[0])
    assert all(key.colour.lower() in svg for key in group.legend)


def test_there_are_points_of_a_pair_in_addition_to_the_means_over_all_pairs(catalog: Catalog) -> None:
    points = [
        row
        for row in run_report_query(catalog, "quality_by_sparsity").rows
        if (row["task"], row["language"], row["score"], row["set_kind"], row["propagation"], row["sparsity"])
        == ("facts", "sw", "wanda", "translation", "dense", 0.5)
    ]
    (mean,) = [row for row in points if row["is_mean_over_pairs"]]
    of_pair = {row["demonstration_label"]: row for row in points if not row["is_mean_over_pairs"]}
    assert sorted(of_pair) == ["es-en", "fr-en"]
    assert mean["demonstration_label"] is None
    assert mean["value"] == pytest.approx(sum(row["value"] for row in of_pair.values()) / 2)
    assert mean["ci_low"] == min(row["ci_low"] for row in of_pair.values())


def test_the_line_of_a_pair_is_hidden_at_first_and_the_dense_model_is_always_shown() -> None:
    pair = {**POINT, "demonstration_label": "fr-en", "is_mean_over_pairs": False}
    (group,) = quality_curves([DENSE, POINT, pair])
    svg = drawn(group.panels[0])
    assert len(re.findall('<g data-score="wanda" data-mean data-key="1">', svg)) == 2
    assert len(re.findall('<g data-score="wanda" data-pair="fr-en" data-detail data-key="1" data-off>', svg)) == 3
    assert "fr-en" in texts(svg)
    assert [key.label for key in group.legend] == ["dense model", "wanda on translation, dense propagation"]


def test_perplexities_far_apart_have_a_logarithmic_scale_and_accuracies_never() -> None:
    far = [{**POINT, "metric": "perplexity", "value": value, "ci_low": value, "ci_high": value} for value in (10, 9000)]
    (group,) = quality_curves([{**row, "sparsity": place} for place, row in zip((0.1, 0.5), far, strict=True)])
    assert {"10", "100", "1000"} <= set(texts(drawn(group.panels[0])))
    (near,) = quality_curves([{**POINT, "ci_low": 0.001}])
    assert "0.2" in texts(drawn(near.panels[0]))


def test_both_axes_have_labels() -> None:
    (group,) = quality_curves([DENSE, POINT])
    assert {"sparsity", "accuracy"} <= set(texts(drawn(group.panels[0])))
