import re
from typing import Any

from catalog.report.panels.pareto import pareto_plots
from catalog.report.query_results import run_report_query
from catalog.store import Catalog
from tests.catalog.report.rows import METHOD, TASK, drawn, texts


def point(english: float, others: float, **more: Any) -> dict[str, Any]:
    row = {**TASK, **METHOD, "intervention": None, "languages": "en fr", "n_others": 1, "is_dense": False}
    row |= {"english_value": english, "others_value": others, "is_efficient": False, "demonstration_label": "fr-en"}
    del row["is_mean_over_pairs"]
    return row | more


def dense(english: float, others: float, **more: Any) -> dict[str, Any]:
    nothing = {"score": None, "set_kind": None, "demonstration_label": None, "is_dense": True}
    return point(english, others, **nothing, **more)


def test_every_variant_of_the_view_is_a_point_beside_the_dense_model(catalog: Catalog) -> None:
    rows = run_report_query(catalog, "pareto").rows
    (group,) = pareto_plots(rows)
    (panel,) = group.panels
    assert "39 variants" in panel.label
    assert "tiny dense: 0.800 and 0.500" in panel.label
    svg = drawn(panel)
    (_, *marks) = svg.split("<g data-score")
    joined = [re.findall(r'd="M([^"]*)"[^>]*marker:', mark.partition("</g>\n</g>")[0]) for mark in marks]
    alone = sum(mark.partition("</g>\n</g>")[0].count("<use") for mark in marks)
    assert alone + sum(len(places.split()) // 2 for of_mark in joined for places in of_mark) == 39


def test_the_points_of_a_score_and_pair_can_be_hidden_together() -> None:
    rows = [dense(0.8, 0.5), point(0.7, 0.6), point(0.6, 0.6), point(0.7, 0.4, demonstration_label="es-en")]
    (group,) = pareto_plots(rows)
    svg = drawn(group.panels[0])
    assert re.findall(r'<g (data-score="wanda" data-pair="[^"]+") data-key="0">', svg) == [
        'data-score="wanda" data-pair="fr-en"',
        'data-score="wanda" data-pair="es-en"',
    ]


def test_a_smaller_dense_model_is_a_named_star_and_not_a_pruned_variant() -> None:
    small = dense(0.7, 0.45, base_model="small", base_model_id="s")
    (group,) = pareto_plots([dense(0.8, 0.5), small, point(0.7, 0.6)])
    assert group.title == "tiny · xnli, test split"
    assert "small dense: 0.700 and 0.450" in group.panels[0].label
    assert "  small" in texts(drawn(group.panels[0]))
    assert [key.label for key in group.legend][:2] == ["dense model", "wanda on translation"]


def test_run_time_baselines_have_a_legend_entry_of_their_own() -> None:
    rows = [dense(0.8, 0.5), point(0.8, 0.6, score=None, set_kind=None, intervention="self_translate")]
    (group,) = pareto_plots(rows)
    assert "self translate" in {key.label for key in group.legend}


def test_without_a_pruned_variant_there_is_no_pareto_figure() -> None:
    assert pareto_plots([dense(0.8, 0.5)]) == ()
