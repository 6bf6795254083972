import pytest

from catalog.report.panels.layers import (
    MAX_MASK_METHODS,
    MAX_METHODS,
    MAX_PAIRS,
    MAX_SPARSITIES,
    layer_heat_maps,
    mask_profiles,
    profile_heat_maps,
    schedule_panels,
)
from catalog.report.query_results import run_report_query
from catalog.report.styles import MAX_IN_LEGEND
from catalog.store import Catalog
from tests.catalog.report.rows import METHOD, Rows, grid


def test_of_many_schedules_as_many_lines_are_drawn_as_there_are_colours() -> None:
    row = {"base_model": "t", "base_model_id": "m", "score": "wanda", "structure": "row", "propagation": "sequential"}
    row |= {"demonstration_label": "fr", "settings": "given schedule", "sparsity": 0.5, "outliers_id": None}
    row |= {"block_values_id": None}
    rows = [
        {**row, "variant_id": f"v{n}", "label": f"variant {n}", "block": block, "removed_share": 0.5}
        for n in range(MAX_IN_LEGEND + 2)
        for block in (0, 1)
    ]
    (group,) = schedule_panels(rows)
    assert len({(key.colour, key.marker) for key in group.legend}) == len(group.legend) == MAX_IN_LEGEND
    assert group.title == f"t, {MAX_IN_LEGEND} of {MAX_IN_LEGEND + 2} variants drawn"


def test_of_many_pairs_an_even_selection_is_drawn() -> None:
    shared = {"base_model": "t", "base_model_id": "m", "score": "wanda", "structure": "row", "propagation": "dense"}
    shared |= {"demonstration_label": "fr-en", "settings": None, "sparsity": 0.5, "share_by_chance": 0.5, "label": "v"}
    rows = [
        {**shared, "corrected_id": str(pair), "paper_id": "p", "block": block, "layer": layer, "share_differing": 0.25}
        for pair in range(MAX_PAIRS + 4)
        for block, layer in ((None, None), (0, "fc1"))
    ]
    (group,) = profile_heat_maps(rows)
    assert len(group.panels) == MAX_PAIRS
    assert f"{MAX_PAIRS} of {MAX_PAIRS + 4} pairs of variants drawn" in group.title


def test_layer_profiles_are_means_over_the_variants_of_a_method_at_its_largest_sparsity(
    methods_catalog: Catalog,
) -> None:
    cell = run_report_query(methods_catalog, "layer_profiles").rows[0]
    columns = ("score", "set_kind", "propagation", "structure", "settings", "sparsity")
    same = " AND ".join(f"v.{column} IS NOT DISTINCT FROM ${column}" for column in columns)
    shares = methods_catalog.query(
        "SELECT l.n_removed / l.n_weights AS share FROM variant_layers AS l JOIN described_variants AS v "
        f"USING (variant_id) WHERE l.block = $block AND l.layer = $layer AND {same}",
        {column: cell[column] for column in (*columns, "block", "layer")},
    )
    assert cell["n_variants"] == len(shares)
    assert cell["removed_share"] == pytest.approx(sum(row["share"] for row in shares) / len(shares))


def test_of_many_uneven_methods_the_most_uneven_ones_are_drawn() -> None:
    row = {"base_model": "t", "base_model_id": "m", **METHOD, "layer": "fc1"}
    rows = [
        {**row, "settings": f"setting {n}", "block": block, "removed_share": 0.4 + 0.2 * block}
        for n in range(MAX_METHODS + 1)
        for block in (0, 1)
    ]
    (group,) = layer_heat_maps(rows)
    assert len(group.panels) == MAX_METHODS
    more = MAX_METHODS + 1
    assert f"{MAX_METHODS} of {more} methods that remove unevenly drawn" in group.title


def test_a_method_that_removes_nothing_is_drawn() -> None:
    row = {"base_model": "t", "base_model_id": "m", **METHOD, "block": 0, "layer": "fc1", "removed_share": 0.0}
    (group,) = layer_heat_maps([row])
    assert grid(group.panels[0]).texts == {(0, 0): "0.00"}


def test_the_overlap_of_a_layer_is_corrected_by_that_of_unrelated_masks(catalog: Catalog, rows: Rows) -> None:
    variants = {row["variant_id"]: row for row in rows["variants"]}
    removed = {
        (row["variant_id"], row["block"], row["layer"]): row["n_removed"] / row["n_weights"]
        for row in rows["variant_layers"]
    }
    answer_rows = run_report_query(catalog, "mask_overlaps").rows
    assert {row["sparsity"] for row in answer_rows} == {0.1, 0.3, 0.5}
    (cell,) = [
        row
        for row in answer_rows
        if (row["score"], row["propagation"], row["sparsity"]) == ("wanda", "dense", 0.3)
        and (row["block"], row["layer"]) == (1, "fc1")
    ]
    pairs = [
        row
        for row in rows["mask_overlaps"]
        if (row["block"], row["layer"]) == (1, "fc1")
        and all(
            (variants[row[side]]["score"], variants[row[side]]["propagation"], variants[row[side]]["sparsity"])
            == ("wanda", "dense", 0.3)
            for side in ("variant_a", "variant_b")
        )
    ]
    corrected = []
    for row in pairs:
        first, second = (removed[row[side], 1, "fc1"] for side in ("variant_a", "variant_b"))
        both = first * second
        chance = both / (first + second - both)
        assert cell["chance"] == pytest.approx(chance)
        corrected.append((row["jaccard"] - chance) / (1 - chance))
    assert cell["n_pairs"] == len(pairs) == 6
    assert cell["jaccard"] == pytest.approx(sum(row["jaccard"] for row in pairs) / len(pairs))
    assert cell["corrected"] == pytest.approx(sum(corrected) / len(corrected))
    assert cell["lowest"] == min(row["jaccard"] for row in pairs)


def test_heat_maps_state_the_chance_level_and_leave_out_sparsities_that_are_too_many() -> None:
    row = {"base_model": "t", "base_model_id": "m", **METHOD, "n_pairs": 3, "chance": 0.176, "least_alike": "fr and sw"}
    rows = [
        {**row, "settings": f"setting {method}", "sparsity": level / 10, "block": 2, "layer": layer, "corrected": value}
        for method in range(MAX_MASK_METHODS + 1)
        for level in range(1, MAX_SPARSITIES + 2)
        for layer, value in (("fc1", 0.8), ("fc2", 0.6))
    ]
    (group,) = mask_profiles(rows)
    n_all = (MAX_MASK_METHODS + 1) * (MAX_SPARSITIES + 1)
    assert f"{MAX_MASK_METHODS * MAX_SPARSITIES} of {n_all} methods and sparsities drawn" in group.title
    first = grid(group.panels[0])
    assert first.title.endswith("sparsity 0.1: 3 pairs of variants, Jaccard by chance 0.18")
    assert "from 0.600 in block 2, layer fc2" in first.label
    assert "least of fr and sw" in first.label
    assert (first.rows, first.columns) == (("2",), ("fc1", "fc2"))
