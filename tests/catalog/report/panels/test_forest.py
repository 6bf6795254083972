import re
from typing import Any

import pytest

from catalog.report.panels.forest import MAX_VARIANTS, forest_plots
from catalog.report.query_results import run_report_query
from catalog.store import Catalog
from tests.catalog.report.rows import METHOD, TASK, Rows, drawn, texts

ROW: dict[str, Any] = {**TASK, **METHOD, "metric": "accuracy", "scale": "difference", "group_kind": "language"}
ROW |= {"group_name": "fr", "intervention": None, "seed": 0, "label": "wanda fr-en 0.5", "demonstration_label": "fr-en"}
ROW |= {"difference": -0.1, "ci_low": -0.2, "ci_high": 0.1, "p_corrected": 0.5, "margin": None, "variant_id": "v"}
del ROW["is_mean_over_pairs"]
MACRO = {**ROW, "group_kind": "outside_english", "group_name": ""}
ENGLISH = {**ROW, "group_name": "en"}


def test_rows_are_groups_of_languages_then_english_then_others() -> None:
    worst = {**MACRO, "group_kind": "worst"}
    (group,) = forest_plots([ROW, ENGLISH, worst, MACRO])
    labels = texts(drawn(group.panels[0]))
    assert {"outside English", "worst language", "en", "fr", "fr-en", "accuracy − dense"} <= set(labels)
    order = [labels.index(name) for name in ("outside English", "worst language", "en", "fr")]
    assert order == sorted(order)


def test_the_label_names_a_best_variant_only_if_it_is_better() -> None:
    def label(*rows: dict[str, Any]) -> str:
        (group,) = forest_plots(rows)
        (panel,) = group.panels
        return panel.label.partition("; ")[2]

    higher, lower = (
        {**ROW, "variant_id": str(value), "label": f"v {value}", "difference": value} for value in (0.1, -0.1)
    )
    assert label(lower, higher) == "largest gain: +0.100, v 0.1, fr, p = 0.500, corrected"
    ratios = [{**row, "metric": "perplexity", "scale": "log_ratio"} for row in (lower, higher)]
    assert label(*ratios) == "largest gain: ×0.905, v -0.1, fr, p = 0.500, corrected"
    assert label(ratios[1]) == "no gain; smallest loss: ×1.105, v 0.1, fr"
    assert label({**ROW, "difference": 0.0}, lower) == "no gain"


def test_there_is_one_panel_for_each_sparsity() -> None:
    (group,) = forest_plots([ROW, {**ROW, "sparsity": 0.7, "variant_id": "w"}])
    titles = [[text for text in texts(drawn(panel)) if text.startswith("sparsity")] for panel in group.panels]
    assert titles == [["sparsity 0.5"], ["sparsity 0.7"]]


def test_significant_differences_are_opaque_and_others_pale() -> None:
    (pale,) = forest_plots([ROW])
    (strong,) = forest_plots([{**ROW, "p_corrected": 0.01}])
    assert "opacity: 0.42" in drawn(pale.panels[0])
    assert "opacity: 0.42" not in drawn(strong.panels[0])


def test_the_margin_of_a_question_is_a_band_with_a_legend_entry() -> None:
    (group,) = forest_plots([{**ENGLISH, "margin": 0.02}, ROW])
    assert group.legend[-1].label == "within the margin of a question"
    assert group.legend[-1].colour in drawn(group.panels[0])
    (without,) = forest_plots([ENGLISH, ROW])
    assert group.legend[-1].colour not in drawn(without.panels[0])


def test_random_pruning_does_not_set_the_scale_and_is_drawn_at_its_edge() -> None:
    lost = {**ROW, "score": "random", "set_kind": None, "difference": -0.9, "ci_low": -1.0, "ci_high": -0.8}
    lost |= {"variant_id": "r", "demonstration_label": None}
    (group,) = forest_plots([ROW, lost])
    ticks = [text for text in texts(drawn(group.panels[0])) if re.fullmatch(r"−?[\d.]+", text)]
    assert all(abs(float(tick.replace("−", "-"))) <= 0.3 for tick in ticks)
    (alone,) = forest_plots([lost])
    assert "−0.75" in texts(drawn(alone.panels[0])) or "−0.8" in texts(drawn(alone.panels[0]))


def test_too_many_variants_are_thinned_and_the_title_says_so() -> None:
    rows = [{**ROW, "variant_id": f"{index:03}", "label": str(index)} for index in range(MAX_VARIANTS + 5)]
    (group,) = forest_plots(rows)
    assert f"{MAX_VARIANTS} of {MAX_VARIANTS + 5} variants" in group.panels[0].label
    assert len(group.rows) == MAX_VARIANTS + 5


def test_marks_have_the_facets_of_their_score_and_pair() -> None:
    (group,) = forest_plots([ROW])
    assert len(re.findall('<g data-score="wanda" data-pair="fr-en" data-key="0">', drawn(group.panels[0]))) == 3


def test_the_query_has_the_comparisons_and_aggregates_with_dense(catalog: Catalog, rows: Rows) -> None:
    dense = {row["variant_id"] for row in rows["variants"] if row["sparsity"] == 0}
    expected = {
        (row["variant_id"], row["language"]): row["difference"]
        for row in rows["comparison_results"]
        if (row["task"], row["split"], row["metric"]) == ("facts", "test", "accuracy") and row["baseline_id"] in dense
    }
    expected |= {
        (row["variant_id"], row["group_kind"]): row["difference"]
        for row in rows["aggregate_results"]
        if (row["task"], row["split"], row["metric"]) == ("facts", "test", "accuracy")
        and row["baseline_id"] in dense
        and row["group_kind"] in ("outside_english", "worst")
    }
    found = {
        (row["variant_id"], row["group_name"] or row["group_kind"]): row
        for row in run_report_query(catalog, "forest").rows
        if (row["task"], row["metric"]) == ("facts", "accuracy")
    }
    assert {key: row["difference"] for key, row in found.items()} == pytest.approx(expected)
    asked = catalog.query("SELECT DISTINCT group_kind, margin FROM questions WHERE margin IS NOT NULL")
    margins = {(row["group_kind"], row["margin"]) for row in found.values() if row["margin"] is not None}
    assert margins == {(row["group_kind"], row["margin"]) for row in asked}
