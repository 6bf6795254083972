import pytest

from catalog.report.panels.weights.mask_profiles import MAX_METHODS, MAX_SPARSITIES, mask_profiles
from catalog.report.query_results import run_report_query
from catalog.store import Catalog
from tests.catalog.report.rows import METHOD, Rows, grid


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
        for method in range(MAX_METHODS + 1)
        for level in range(1, MAX_SPARSITIES + 2)
        for layer, value in (("fc1", 0.8), ("fc2", 0.6))
    ]
    (group,) = mask_profiles(rows)
    n_all = (MAX_METHODS + 1) * (MAX_SPARSITIES + 1)
    assert f"{MAX_METHODS * MAX_SPARSITIES} of {n_all} methods and sparsities drawn" in group.title
    first = grid(group.panels[0])
    assert first.title.endswith("sparsity 0.1: 3 pairs of variants, Jaccard by chance 0.18")
    assert "least in block 2, fc2: 0.600 (fr and sw)" in first.label
    assert (first.rows, first.columns) == (("2",), ("fc1", "fc2"))
