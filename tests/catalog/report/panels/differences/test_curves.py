import math
import re
from typing import Any

import pytest

from catalog.report.panels.differences.curves import difference_curves
from catalog.report.query_results import run_report_query
from catalog.store import Catalog
from tests.catalog.report.rows import POINT, Rows, drawn, texts


def of_random(rows: Rows) -> list[dict[str, Any]]:
    """Comparisons of random pruning at 0.5 with dense in Swahili."""
    variants = {row["variant_id"]: row for row in rows["variants"]}
    return [
        row
        for row in rows["comparison_results"]
        if (row["task"], row["split"], row["metric"], row["language"]) == ("facts", "test", "accuracy", "sw")
        and variants[row["variant_id"]]["score"] == "random"
        and variants[row["variant_id"]]["sparsity"] == 0.5
        and variants[row["baseline_id"]]["sparsity"] == 0
    ]


def points_of(catalog: Catalog, language: str, **wanted: Any) -> list[dict[str, Any]]:
    wanted |= {"task": "facts", "language": language, "sparsity": 0.5}
    points = run_report_query(catalog, "difference_by_sparsity").rows
    return [dict(row) for row in points if wanted.items() <= row.items()]


def test_a_point_over_several_variants_is_the_mean_of_their_differences_without_an_interval(
    catalog: Catalog, rows: Rows
) -> None:
    differences = [row["difference"] for row in of_random(rows)]
    (point,) = points_of(catalog, "sw", score="random")
    assert point["n_variants"] == len(differences) == 2
    assert point["difference"] == pytest.approx(sum(differences) / 2)
    assert point["ci_low"] is point["ci_high"] is None


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
    assert any(float(label) > 4 for label in labels if re.fullmatch(r"[\d.]+", label))
