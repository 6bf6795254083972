import pytest

from catalog.report.panels.layers import MAX_METHODS, MAX_PAIRS, layer_heat_maps, profile_heat_maps
from catalog.report.query_results import run_report_query
from catalog.store import Catalog
from tests.catalog.report.rows import METHOD, grid


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


def test_the_most_uneven_method_comes_first(methods_catalog: Catalog) -> None:
    answer_rows = run_report_query(methods_catalog, "layer_profiles").rows
    (group,) = layer_heat_maps(answer_rows)
    assert "only blocks 1" in grid(group.panels[0]).title
    assert [grid(group.panels[0]).texts[place] for place in ((0, 0), (1, 0))] == ["0.00", "0.50"]
    uneven = {(row["score"], row["settings"]) for row in answer_rows}
    assert ("magnitude", None) not in uneven
    assert all(row["unevenness"] >= 0.005 for row in answer_rows)


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
