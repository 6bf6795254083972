import re
from typing import Any, get_args

import pytest
from matplotlib.figure import Figure

from catalog.report.panels.languages import (
    MAX_FRONT,
    MAX_METHODS,
    MAX_POINTS,
    MAX_POOLED,
    MAX_SPARSITIES,
    breaking_tables,
    interval_text,
    pareto_plots,
    pooled_panels,
    source_heat_maps,
)
from catalog.report.query_results import run_report_query
from catalog.report.styles import MAX_IN_LEGEND, method_styles
from catalog.report.styles import METHOD as METHOD_COLUMNS
from catalog.store import Catalog
from mlprune.methods import SCORES
from mlprune.vocabulary import DemonstrationKind
from tests.catalog.report.rows import METHOD, TASK, Rows, drawn, grid, texts

INTERVENTIONS = ("lrp2", "self_translate", "translate_test", "vocabulary")


def point(english: float, others: float, **more: Any) -> dict[str, Any]:
    """A variant that changes by these differences from a dense model with 0.8 and 0.5."""
    row = {**TASK, **METHOD, "intervention": None, "languages": "en fr", "n_others": 1, "is_dense": False}
    row |= {"english_value": 0.8 + english, "others_value": 0.5 + others, "demonstration_label": "fr-en"}
    row |= {"english_difference": english, "others_difference": others, "label": "wanda fr-en 0.5"}
    row |= {"english_ci_low": english - 0.03, "english_ci_high": english + 0.01}
    row |= {"others_ci_low": others - 0.02, "others_ci_high": others + 0.02}
    row |= {"is_efficient": False, "probability": 0.1}
    del row["is_mean_over_pairs"]
    return row | more


def dense(**more: Any) -> dict[str, Any]:
    nothing = {"score": None, "set_kind": None, "demonstration_label": None, "is_dense": True, "label": "dense"}
    return point(0.0, 0.0, **{**nothing, "english_ci_low": None, "others_ci_low": None, **more})


def segments(panel: Any) -> list[list[tuple[float, float]]]:
    """Lines from one point to another in a panel, without those at dense."""
    axes = Figure().subplots()
    panel.draw(axes)
    lines = [[(round(float(x), 9), round(float(y), 9)) for x, y in line.get_xydata()] for line in axes.lines[2:]]  # type: ignore[union-attr]
    return [line for line in lines if len(line) == 2]


def test_variants_on_the_front_of_dev_have_intervals_sparsity_and_probability() -> None:
    rows = [dense(), point(-0.1, 0.05, is_efficient=True, probability=0.43), point(0.1, 0.2)]
    (group,) = pareto_plots(rows)
    (panel,) = group.panels
    assert segments(panel) == [[(-0.13, 0.05), (-0.09, 0.05)], [(-0.1, 0.03), (-0.1, 0.07)]]
    assert "0.5, 43%" in texts(drawn(panel))
    assert "on the front of dev, with the share of resamples: wanda fr-en 0.5 (43%)" in panel.label


@pytest.mark.thorough("renders pages of its own")
def test_of_many_variants_some_are_drawn_and_the_title_says_how_many() -> None:
    on_front = [point(-n / 1000, n / 1000, is_efficient=True, score="ria") for n in range(MAX_FRONT + 30)]
    beaten = [point(-n / 10_000, -0.1) for n in range(2 * MAX_POINTS)]
    (group,) = pareto_plots([dense(), *on_front, *beaten])
    (panel,) = group.panels
    axes = Figure().subplots()
    panel.draw(axes)
    assert sum(len(line.get_xdata()) for line in axes.lines if line.get_linestyle() == "None") == MAX_POINTS + 1
    assert len(texts(drawn(panel))) < 2 * MAX_FRONT
    n_all = len(on_front) + len(beaten)
    assert f"{MAX_POINTS} of {n_all} variants" in axes.get_title()
    assert f"{n_all} variants" in panel.label
    assert len(panel.label) < 60 * MAX_FRONT


def test_without_a_dev_split_all_points_are_drawn_and_no_front() -> None:
    nothing = {"is_efficient": None, "probability": None}
    (group,) = pareto_plots([dense(**nothing), point(0.1, 0.1, **nothing)])
    assert "no front, because nothing was evaluated on dev" in group.panels[0].label
    assert segments(group.panels[0]) == []


def test_dense_can_be_on_the_front() -> None:
    (group,) = pareto_plots([dense(is_efficient=True, probability=0.05), point(-0.1, -0.1)])
    assert "dense (5%)" in group.panels[0].label
    assert "5%" in texts(drawn(group.panels[0]))


def test_the_points_of_a_score_and_pair_can_be_hidden_together() -> None:
    rows = [dense(), point(-0.1, 0.1), point(-0.2, 0.1), point(-0.1, -0.1, demonstration_label="es-en")]
    (group,) = pareto_plots(rows)
    svg = drawn(group.panels[0])
    assert re.findall(r'<g (data-score="wanda" data-pair="[^"]+") data-key="0">', svg) == [
        'data-score="wanda" data-pair="fr-en"',
        'data-score="wanda" data-pair="es-en"',
    ]


def test_a_smaller_dense_model_is_a_named_star_and_not_a_pruned_variant() -> None:
    small = dense(base_model="small", base_model_id="s", english_value=0.7, others_value=0.45)
    (group,) = pareto_plots([dense(), small, point(-0.1, 0.1)])
    assert group.title == "tiny · xnli, test split"
    assert "small dense: 0.700 and 0.450" in group.panels[0].label
    assert "  small" in texts(drawn(group.panels[0]))
    assert [key.label for key in group.legend][:2] == ["dense model", "wanda on translation"]


def test_run_time_baselines_have_a_legend_entry_of_their_own() -> None:
    rows = [dense(), point(0.0, 0.1, score=None, set_kind=None, intervention="self_translate")]
    (group,) = pareto_plots(rows)
    assert "self-translate" in {key.label for key in group.legend}


def test_without_a_pruned_variant_there_is_no_pareto_figure() -> None:
    assert not list(pareto_plots([dense()]))


def test_no_two_entries_of_the_legend_have_the_same_mark_and_many_methods_are_named_on_the_front() -> None:
    points = [point(0.0, 0.1, score=score, set_kind=kind) for score in SCORES for kind in get_args(DemonstrationKind)]
    few, many = points[:MAX_IN_LEGEND], [{**points[-1], "is_efficient": True}, *points[:-1]]
    (group,), (named,) = pareto_plots([dense(), *few]), pareto_plots([dense(), *many])
    marks = [(entry.colour, entry.marker, entry.is_hollow) for entry in group.legend]
    assert len(set(marks)) == len(marks) == len(few) + 2
    assert len(named.legend) == 2
    name = method_styles(many[:1])[tuple(many[0][column] for column in METHOD_COLUMNS)].name.split(",")[0]
    assert any(text.startswith(name) for text in texts(drawn(named.panels[0])))


CELL = {**TASK, **METHOD, "intervention": None, "method": "wanda fr-en", "shots": 4, "samples": 48, "n_variants": 1}
CELL |= {"demonstration_label": "fr-en", "last_not_below": 0.2, "first_below": 0.3, "n_not_below_after": 0, "n": 150}
CELL |= {"n_family": 318, "detectable_difference": 0.11, "difference": -0.2, "p_corrected": 0.01}


def test_the_breaking_sparsity_lies_between_the_last_that_is_not_below_and_the_first_that_is(catalog: Catalog) -> None:
    curves: dict[tuple[str, str], dict[float, list[bool]]] = {}
    for row in catalog.query(
        "SELECT c.* FROM internal.against_dense AS c JOIN described_variants AS v USING (variant_id) "
        "WHERE c.group_kind = 'language' AND c.p_value IS NOT NULL "
        "AND c.task = 'facts' AND c.split = 'test' AND c.metric = 'accuracy' AND NOT v.is_dense"
    ):
        is_below = row["outcome"] == "worse" and row["p_corrected"] < 0.05
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
    assert "In its family, a true difference of 0.110 is found with a power of 80 %" in group.note
    assert group.note.endswith("Every set is a single draw of demonstrations.")
    assert "at most 318 tests" in group.note
    table = grid(group.panels[0])
    assert table.columns == ("en", "fr")
    assert len(table.rows) == MAX_METHODS
    assert f"{MAX_METHODS} of {MAX_METHODS + 2} methods drawn" in group.title


SOURCE_LANGUAGES_CELL = {
    **TASK,
    **METHOD,
    "demonstration_label": "fr-en",
    "difference": 0.02,
    "n_variants": 2,
    "n_better": 0,
}
SOURCE_LANGUAGES_CELL |= {"n_worse": 0, "detectable_difference": 0.1}


def test_a_cell_is_the_paired_difference_of_the_variants_that_read_a_source(catalog: Catalog, rows: Rows) -> None:
    sets = {row["demonstration_set_id"]: row for row in rows["demonstration_sets"]}
    read = {row["variant_id"]: (row, sets.get(row["demonstration_set_id"])) for row in rows["variants"]}
    answer_rows = run_report_query(catalog, "sources_by_language").rows
    (cell,) = [
        row
        for row in answer_rows
        if (row["score"], row["propagation"], row["sparsity"]) == ("wanda", "dense", 0.3)
        and (row["demonstration_label"], row["language"]) == ("es-en", "sw")
    ]
    (compared,) = [
        row
        for row in catalog.query(
            "FROM internal.against_dense WHERE group_kind = 'language' AND metric = 'accuracy' "
            "AND split = 'test' AND language = 'sw'"
        )
        if (variant := read[row["variant_id"]])[1]
        and (variant[0]["score"], variant[0]["propagation"], variant[0]["sparsity"]) == ("wanda", "dense", 0.3)
        and (variant[1]["source_language"], variant[1]["target_language"]) == ("es", "en")
    ]
    assert cell["n_variants"] == 1
    assert cell["difference"] == pytest.approx(compared["difference"])
    assert (cell["ci_low"], cell["ci_high"]) == (compared["ci_low"], compared["ci_high"])
    assert cell["n_better"] == int(compared["p_corrected"] < 0.05 and compared["difference"] > 0)
    assert not [row for row in answer_rows if row["score"] in ("random", "magnitude")]


def test_a_star_needs_every_seed_in_one_direction() -> None:
    marks = {"none": (0, 0), "one": (0, 1), "both": (2, 0)}
    rows = [
        {**SOURCE_LANGUAGES_CELL, "language": name, "n_better": up, "n_worse": down}
        for name, (up, down) in marks.items()
    ]
    (group,) = source_heat_maps(rows)
    table = grid(group.panels[0])
    texts = {table.columns[across]: text for (_, across), text in table.texts.items()}
    assert texts == {"both": "+0.020*", "none": "+0.020", "one": "+0.020"}
    assert group.note.startswith("Of 3 cells 1 are significantly better than dense and 0 significantly worse.")
    assert "In its family, a true difference of 0.100 is found with a power of 80 %" in group.note
    (alone,) = source_heat_maps([{**SOURCE_LANGUAGES_CELL, "n_variants": 1}])
    assert alone.note.endswith("All are conditional on one draw of demonstrations.")


def test_each_sparsity_has_a_colour_scale_of_its_own() -> None:
    rows = [
        {**SOURCE_LANGUAGES_CELL, "sparsity": level / 10, "difference": -level / 10}
        for level in range(1, MAX_SPARSITIES + 3)
    ]
    groups = list(source_heat_maps(rows))
    assert len(groups) == MAX_SPARSITIES
    assert [grid(group.panels[0]).scale.high for group in groups] == [0.1, 0.3, 0.4, 0.6]
    assert f"{MAX_SPARSITIES} of {MAX_SPARSITIES + 2} sparsities drawn" in groups[0].title


def test_the_variants_chosen_on_dev_and_of_primary_questions_have_languages_alone_and_pooled(
    catalog: Catalog, rows: Rows
) -> None:
    chosen = {row["variant_id"] for row in catalog.query("FROM best_variant WHERE metric = 'accuracy'")}
    asked = {row["question_id"] for row in rows["questions"] if row["is_primary"] and row["metric"] == "accuracy"}
    reported = chosen | {row["variant_id"] for row in rows["question_variants"] if row["question_id"] in asked}
    dense = {row["variant_id"] for row in rows["variants"] if row["sparsity"] == 0}
    expected = {
        (row["variant_id"], row["language"]): (row["difference"], row["pooled"], row["new_language_ci_high"])
        for row in rows["pooled_languages"]
        if (row["task"], row["metric"], row["split"]) == ("facts", "accuracy", "test")
        and row["variant_id"] in reported
        and row["baseline_id"] in dense
    }
    shown = run_report_query(catalog, "pooled_languages").rows
    assert expected
    assert {
        (row["variant_id"], row["language"]): (row["difference"], row["pooled"], row["new_language_ci_high"])
        for row in shown
        if row["task"] == "facts"
    } == expected


def pooled_rows(variant: str, differences: dict[str, float]) -> list[dict[str, Any]]:
    """A variant with these differences, halfway pooled to 0, with intervals of 0.04 and 0.02 around them."""
    row = {**TASK, **METHOD, "intervention": None, "variant_id": variant, "comparison_id": variant, "label": variant}
    row |= {"mean": 0.0, "mean_ci_low": -0.03, "mean_ci_high": 0.03}
    row |= {"new_language_ci_low": -0.3, "new_language_ci_high": 0.2}
    return [
        {
            **row, "language": language, "difference": one, "ci_low": one - 0.04, "ci_high": one + 0.04,
            "pooled": one / 2, "pooled_ci_low": one / 2 - 0.02, "pooled_ci_high": one / 2 + 0.02,
        }
        for language, one in differences.items()
    ]  # fmt: skip


def test_both_estimates_of_a_language_have_intervals_and_a_further_language_has_one_alone() -> None:
    (group,) = pooled_panels(pooled_rows("v", {"ar": -0.2, "fr": 0.1, "sw": 0.1}))
    (panel,) = group.panels
    axes = Figure().subplots()
    panel.draw(axes)  # type: ignore[union-attr]
    segments = [lines.get_segments()[0][:, 0].round(9).tolist() for lines in axes.collections]  # type: ignore[attr-defined]
    assert segments[:2] == [[-0.24, -0.16], [-0.12, -0.08]]
    assert segments[-2:] == [[-0.03, 0.03], [-0.3, 0.2]]
    assert len(segments) == 2 * 3 + 2
    assert sum(len(line.get_xdata()) == 1 for line in axes.lines) == 2 * 3 + 1
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["ar", "fr", "sw", "mean", "a further language"]
    assert "xploratory" in panel.label
    assert (
        "ar the language alone −0.200 (−0.240 to −0.160), pooled over the languages −0.100 (−0.120 to −0.080)"
        in panel.label
    )
    assert "xploratory" in group.note


def test_of_many_pooled_variants_some_are_drawn_and_the_heading_says_how_many() -> None:
    variants = [pooled_rows(f"v{n}", {"ar": 0.0, "fr": 0.0, "sw": 0.0}) for n in range(MAX_POOLED + 3)]
    (group,) = pooled_panels([row for rows in variants for row in rows])
    assert len(group.panels) == MAX_POOLED
    assert f"{MAX_POOLED} of {MAX_POOLED + 3} variants" in group.title
    assert len(group.rows) == 3 * (MAX_POOLED + 3)
