import pytest

from catalog.report.panels.layers import MAX_METHODS, MAX_PAIRS, layer_heat_maps, profile_heat_maps
from catalog.report.query_results import run_report_query
from catalog.store import Catalog
from tests.catalog.report.rows import METHOD, Rows, grid


def test_the_differences_of_profiles_are_drawn_for_each_pair_with_the_values_of_the_query(
    methods_catalog: Catalog,
) -> None:
    rows = run_report_query(
        methods_catalog, "profile_differences", folder="queries", parameters={"variant_id": None}
    ).rows
    (group,) = profile_heat_maps(rows)
    whole = [row for row in rows if row["block"] is None]
    assert len(group.panels) == len(whole) == 3
    shares = sorted(f"{row['share_differing']:.3f}" for row in whole)
    assert f"over all layers {shares[0]} to {shares[-1]} of the mask entries differ" in group.title
    assert "for unrelated masks of these sparsities it would be 0.500" in group.title
    for row, panel in zip(whole, group.panels, strict=True):
        ids = (row["corrected_id"], row["paper_id"])
        cells = [one for one in rows if (one["corrected_id"], one["paper_id"]) == ids and one["layer"]]
        shown = grid(panel)
        assert f"{row['share_differing']:.3f} of all entries differ" in shown.title
        assert {(shown.rows[down], shown.columns[across]): value for (down, across), value in shown.values.items()} == {
            (str(one["block"]), one["layer"]): one["share_differing"] for one in cells
        }


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
    catalog: Catalog, rows: Rows
) -> None:
    answer_rows = run_report_query(catalog, "layer_profiles").rows
    assert {row["sparsity"] for row in answer_rows} == {0.5}
    (cell,) = [row for row in answer_rows if (row["score"], row["block"], row["layer"]) == ("random", 0, "fc1")]
    variants = {row["variant_id"]: row for row in rows["variants"]}
    shares = [
        row["n_removed"] / row["n_weights"]
        for row in rows["variant_layers"]
        if (row["block"], row["layer"]) == (0, "fc1")
        and (variants[row["variant_id"]]["score"], variants[row["variant_id"]]["sparsity"]) == ("random", 0.5)
    ]
    assert cell["n_variants"] == len(shares) == 2
    assert cell["removed_share"] == pytest.approx(sum(shares) / 2)


def test_the_most_uneven_method_comes_first(methods_catalog: Catalog) -> None:
    answer_rows = run_report_query(methods_catalog, "layer_profiles").rows
    (group,) = layer_heat_maps(answer_rows)
    assert "only blocks 1" in grid(group.panels[0]).title
    assert [grid(group.panels[0]).texts[place] for place in ((0, 0), (1, 0))] == ["0.00", "0.50"]
    even = grid(group.panels[-1])
    assert even.title == "the same fraction of every layer"
    assert len(set(even.rows)) == len(even.rows) > 3
    assert {facets["score"] for facets in even.row_facets} >= {"random", "magnitude", "wanda"}
    whole = {row["score"]: row["removed_share"] for row in answer_rows}
    assert even.values[even.rows.index("magnitude, sparsity 0.5"), 0] == whole["magnitude"]


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
    assert f"{MAX_METHODS} of {more} methods that remove unevenly drawn, all of them in the data" in group.title


def test_a_method_that_removes_nothing_is_drawn() -> None:
    row = {"base_model": "t", "base_model_id": "m", **METHOD, "block": 0, "layer": "fc1", "removed_share": 0.0}
    (group,) = layer_heat_maps([row])
    assert grid(group.panels[0]).texts == {(0, 0): "0.00"}
