from typing import Any

import pytest

from catalog.report.bars import consistency_bars
from catalog.report.curves import accuracy_curves
from catalog.report.exhibits import english_first, left_out, spread
from catalog.report.heatmaps import MOST_BLOCKS, MOST_SETS, change_heat_maps, overlap_heat_maps
from catalog.report.magnitudes import MOST_SETS as MOST_PANELS
from catalog.report.magnitudes import magnitude_panels
from catalog.report.profiles import MOST_BLOCKS_WITH_NUMBERS, MOST_PAIRS, profile_heat_maps
from catalog.report.schedules import MOST_VARIANTS, schedule_panels
from catalog.report.sources import answer
from catalog.store import Catalog
from mlprune.numeric.significance import holm

Rows = dict[str, list[dict[str, Any]]]
TASK = {"base_model": "tiny", "base_model_id": "m", "task": "xnli", "split": "test", "scoring_rule": "mean"}
TASK |= {"example_limit": None, "language": "fr"}
METHOD = {"score": "wanda", "set_kind": "translation", "propagation": "dense", "structure": "row", "settings": None}
METHOD |= {"sparsity": 0.5}


def texts(svg: str) -> list[str]:
    return [part.partition("</text>")[0].rpartition(">")[2] for part in svg.split("<text")[1:]]


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
        for row in answer(catalog, "accuracy_by_sparsity").rows
        if (row["language"], row["score"], row["sparsity"]) == ("sw", "random", 0.5)
    ]
    assert point["n_variants"] == len(values) == 2
    assert point["accuracy"] == pytest.approx(sum(row["value"] for row in values) / 2)
    assert point["ci_low"] == min(row["ci_low"] for row in values)
    assert point["ci_high"] == max(row["ci_high"] for row in values)


def test_significance_marks_follow_holm_over_all_comparisons_of_the_figure(catalog: Catalog, rows: Rows) -> None:
    dense = {row["variant_id"] for row in rows["variants"] if row["sparsity"] == 0}
    family = [
        row
        for row in rows["comparisons"]
        if (row["task"], row["split"], row["metric"]) == ("facts", "test", "accuracy") and row["baseline_id"] in dense
    ]
    sure = [row for row, p in zip(family, holm([row["p_value"] for row in family]), strict=True) if p < 0.05]
    cells = answer(catalog, "change_to_dense").rows
    assert {row["n_family"] for row in cells} == {len(family)}
    assert sum(row["n_significantly_better"] for row in cells) == sum(row["difference"] > 0 for row in sure) > 0
    assert sum(row["n_significantly_worse"] for row in cells) == sum(row["difference"] < 0 for row in sure) > 0
    assert sum(row["n_variants"] for row in cells) == len(family)


def test_a_cell_is_marked_twice_when_all_its_variants_differ_and_once_when_some_do() -> None:
    cells = [
        {**TASK, **METHOD, "intervention": None, "sparsity": sparsity, "n_variants": 2, "difference": difference}
        | {"n_significantly_better": better, "n_significantly_worse": worse}
        for sparsity, difference, better, worse in ((0.1, 0.2, 2, 0), (0.3, -0.1, 0, 1), (0.5, -0.001, 0, 0))
    ]
    (group,) = change_heat_maps(cells, "a")
    assert {"+0.20**", "−0.10*", "0.00"} <= set(texts(group.panels[0]))


def test_rank_consistency_is_that_of_dense_and_of_the_variant_chosen_for_the_language(
    catalog: Catalog, rows: Rows
) -> None:
    chosen = {row["language"]: row["variant_id"] for row in catalog.query("SELECT * FROM best_variant")}
    values = {
        (row["variant_id"], row["language"]): row["value"]
        for row in rows["rank_consistency"]
        if (row["reference_language"], row["split"]) == ("en", "test")
    }
    shown = answer(catalog, "rank_consistency").rows
    assert len(shown) == 6
    for row in shown:
        assert row["rank_consistency"] == values[row["variant_id"], row["language"]]
        assert row["is_dense"] or row["variant_id"] == chosen[row["language"]]


def test_a_single_point_without_an_interval_is_drawn() -> None:
    point = {**TASK, **METHOD, "n_variants": 1, "accuracy": 0.4, "ci_low": None, "ci_high": None}
    (group,) = accuracy_curves([point], "a")
    assert "fr" in texts(group.panels[0])
    assert [key.label for key in group.keys] == ["wanda on translation, dense propagation"]


def test_models_and_tasks_have_figures_of_their_own() -> None:
    point = {**TASK, **METHOD, "n_variants": 1, "accuracy": 0.4, "ci_low": 0.3, "ci_high": 0.5}
    points = [
        point,
        {**point, "task": "marc", "example_limit": 100},
        {**point, "base_model": "big", "base_model_id": "n"},
    ]
    titles = [group.title for group in accuracy_curves(points, "a")]
    assert titles == ["tiny · xnli, test split", "tiny · marc, test split, 100 examples", "big · xnli, test split"]


def test_several_scoring_rules_are_told_apart_by_the_headings() -> None:
    point = {**TASK, **METHOD, "n_variants": 1, "accuracy": 0.4, "ci_low": 0.3, "ci_high": 0.5}
    titles = [group.title for group in accuracy_curves([point, {**point, "scoring_rule": "sum"}], "a")]
    assert titles == ["tiny · xnli, test split, mean rule", "tiny · xnli, test split, sum rule"]


def test_bars_of_nothing_but_zeros_are_drawn() -> None:
    row = {**TASK, "is_dense": True, "rank_consistency": 0.0}
    (group,) = consistency_bars([row], "a")
    assert "0.00" in texts(group.panels[0])


def test_of_many_sets_and_blocks_an_even_selection_is_drawn_and_the_heading_says_so() -> None:
    sets = [f"{n:020d}" for n in range(MOST_SETS + 1)]
    kinds = {
        "kind_a": "monolingual",
        "target_a": None,
        "seed_a": 0,
        "profile_a": None,
        "kind_b": "monolingual",
        "target_b": None,
        "seed_b": 0,
    }
    rows = [
        {
            "base_model": "tiny",
            "base_model_id": "m",
            "share": 0.3,
            "block": block,
            "value": 0.1,
            "set_a": a,
            "set_b": sets[0],
        }
        | {**kinds, "source_a": a[-2:], "source_b": "00"}
        for block in range(MOST_BLOCKS + 5)
        for a in sets
    ]
    (group,) = overlap_heat_maps(rows, "a")
    assert len(group.panels) == MOST_BLOCKS
    assert "16 of 17 sets drawn" in group.title
    assert f"{MOST_BLOCKS} of {MOST_BLOCKS + 5} blocks drawn" in group.title
    assert f"block {MOST_BLOCKS + 4}" in texts(group.panels[-1])


def test_sets_of_equal_languages_are_told_apart_by_seed_or_id() -> None:
    sets = {"aaaa1": 0, "bbbb2": 0, "cccc3": 7}
    rows = [
        {"base_model": "t", "base_model_id": "m", "share": 0.3, "block": 0, "value": 0.1, "set_a": a, "set_b": b}
        | {"kind_a": "translation", "source_a": "fr", "target_a": "en", "seed_a": sets[a], "profile_a": None}
        for a in sets
        for b in sets
    ]
    (group,) = overlap_heat_maps(rows, "a")
    assert {"fr-en aaaa", "fr-en bbbb", "fr-en s7"} <= set(texts(group.panels[0]))


def test_features_that_are_large_most_often_have_a_key_and_far_ones_a_logarithmic_scale() -> None:
    row = {
        "base_model": "t",
        "base_model_id": "m",
        "kind": "monolingual",
        "source_language": "fr",
        "target_language": None,
        "profile": None,
    }
    rows = [
        {**row, "seed": 0, "demonstration_set_id": "s", "block": block, "feature": feature, "magnitude": magnitude}
        for block in range(4)
        for feature, magnitude in ((5, 900.0), (6 + block, 2.0))
    ]
    (group,) = magnitude_panels(rows, "a")
    assert group.keys[0].label == "feature 5"
    assert "fr · monolingual" in texts(group.panels[0])
    (near,) = magnitude_panels([{**one, "magnitude": 2.0} for one in rows], "a")
    assert near.panels[0] != group.panels[0]
    assert {"10", "100"} <= set(texts(group.panels[0]))
    assert "$" not in group.panels[0]


def test_of_many_demonstration_sets_an_even_selection_has_panels() -> None:
    row = {
        "base_model": "t",
        "base_model_id": "m",
        "kind": "monolingual",
        "target_language": None,
        "profile": None,
        "seed": 0,
        "block": 0,
    }
    rows = [
        {**row, "source_language": f"l{n}", "demonstration_set_id": f"s{n}", "feature": 1, "magnitude": 1.0}
        for n in range(MOST_PANELS + 3)
    ]
    (group,) = magnitude_panels(rows, "a")
    assert len(group.panels) == MOST_PANELS
    assert group.title == "t, 24 of 27 sets drawn, all of them in the data"


def test_a_selection_holds_the_first_and_the_last_in_order() -> None:
    assert spread(list(range(10)), 4) == [0, 3, 6, 9]
    assert spread([1, 2], 4) == [1, 2]
    assert left_out(2, 2, "sets") == ""


def test_english_stands_before_all_other_languages() -> None:
    assert english_first(["sw", "de", "en", "de"]) == ["en", "de", "sw"]


def test_lines_with_settings_have_colours_of_their_own_and_are_named() -> None:
    point = {**TASK, **METHOD, "n_variants": 1, "accuracy": 0.4, "ci_low": 0.3, "ci_high": 0.5}
    points = [{**point, "settings": settings} for settings in (None, "paper profile", "removes the highest")]
    (group,) = accuracy_curves(points, "a")
    assert [key.label for key in group.keys] == [
        "wanda on translation, dense propagation",
        "wanda on translation, dense propagation, paper profile",
        "wanda on translation, dense propagation, removes the highest",
    ]
    assert len({key.colour for key in group.keys}) == 3
    assert all(key.colour.lower() in group.panels[0] for key in group.keys)


def test_changes_of_methods_with_other_settings_have_panels_of_their_own() -> None:
    cell = {**TASK, **METHOD, "intervention": None, "n_variants": 1, "difference": 0.1}
    cell |= {"n_significantly_better": 0, "n_significantly_worse": 0}
    settings = "union of wanda on fr-en and wanda on es-en"
    (group,) = change_heat_maps([cell, {**cell, "settings": settings}], "a")
    assert len(group.panels) == 2
    assert f"dense propagation, {settings}" in " ".join(texts(group.panels[1]))


def test_the_differences_of_profiles_are_drawn_pair_by_pair_with_what_the_query_says(methods_catalog: Catalog) -> None:
    rows = answer(methods_catalog, "profile_differences", folder="queries", parameters={"variant_id": None}).rows
    (group,) = profile_heat_maps(rows, "a")
    whole = [row for row in rows if row["block"] is None]
    assert len(group.panels) == len(whole) == 3
    shares = sorted(f"{row['share_differing']:.3f}" for row in whole)
    assert f"over all layers {shares[0]} to {shares[-1]} of the mask entries differ" in group.title
    assert "of unrelated masks of these sparsities it would be 0.500" in group.title
    for row, drawn in zip(whole, group.panels, strict=True):
        ids = (row["corrected_id"], row["paper_id"])
        cells = [one for one in rows if (one["corrected_id"], one["paper_id"]) == ids and one["layer"]]
        found = texts(drawn)
        assert [text for text in found if text.startswith("0.") and "entries" not in text] == [
            f"{one['share_differing']:.2f}" for one in sorted(cells, key=lambda one: (one["block"], one["layer"]))
        ]
        assert f"{row['share_differing']:.3f} of all entries differ" in " ".join(found)
        assert {one["layer"] for one in cells} <= set(found)


def test_of_many_pairs_an_even_selection_is_drawn_and_numbers_only_where_they_can_be_read() -> None:
    shared = {"base_model": "t", "base_model_id": "m", "score": "wanda", "structure": "row", "propagation": "dense"}
    shared |= {"demonstrations": "fr-en", "settings": None, "sparsity": 0.5, "share_by_chance": 0.5}
    rows = [
        {**shared, "corrected_id": str(pair), "paper_id": "p", "block": block, "layer": layer, "share_differing": 0.25}
        for pair in range(MOST_PAIRS + 4)
        for block, layer in ((None, None), *((block, "fc1") for block in range(MOST_BLOCKS_WITH_NUMBERS + 1)))
    ]
    (group,) = profile_heat_maps(rows, "a")
    assert len(group.panels) == MOST_PAIRS
    assert f"{MOST_PAIRS} of {MOST_PAIRS + 4} pairs of variants drawn" in group.title
    assert "0.25" not in texts(group.panels[0])
    few = [row for row in rows if row["block"] in (None, 0)]
    assert "0.25" in texts(profile_heat_maps(few, "a")[0].panels[0])


def test_schedules_are_drawn_with_the_ratios_of_owl_beside_them(methods_catalog: Catalog) -> None:
    parameters = {"variant_id": None, "schedule": None, "with_uniform": False}
    rows = answer(methods_catalog, "layer_schedule", folder="queries", parameters=parameters).rows
    assert {row["schedule"] for row in rows} == {"owl", "given"}
    (group,) = schedule_panels(rows, "a")
    assert [key.label for key in group.keys] == [
        "wanda on fr-en, dense propagation, given schedule, block 0 at 0.25, sparsity 0.5",
        "wanda on fr-en, dense propagation, owl schedule, owl spread 0.1, sparsity 0.5",
    ]
    assert len(group.panels) == 2
    assert "from 0.250 to 0.600 of a block, 2 variants" in group.panels[0]
    assert "Scores above 5 times the block" in group.panels[1]
    assert "from 0.0200 to 0.0600" in group.panels[1]
    (given,) = schedule_panels([row for row in rows if row["schedule"] == "given"], "a")
    assert len(given.panels) == 1


def test_of_many_schedules_as_many_lines_are_drawn_as_there_are_colours() -> None:
    row = {"base_model": "t", "base_model_id": "m", "score": "wanda", "structure": "row", "propagation": "sequential"}
    row |= {"demonstrations": "fr", "settings": "given schedule", "sparsity": 0.5, "outliers_id": None}
    rows = [
        {**row, "variant_id": f"v{n}", "block": block, "removed_share": 0.5}
        for n in range(MOST_VARIANTS + 2)
        for block in (0, 1)
    ]
    (group,) = schedule_panels(rows, "a")
    assert len({key.colour for key in group.keys}) == len(group.keys) == MOST_VARIANTS
    assert group.title == f"t, {MOST_VARIANTS} of {MOST_VARIANTS + 2} variants drawn, all of them in the data"
