"""Queries of refined layers, compared with plain loops over the rows of a store."""

from collections import defaultdict
from pathlib import Path
from statistics import fmean

import pytest

from catalog.store import Catalog
from mlprune.store.store import Store
from tests.catalog.query_answers import answers
from tests.catalog_data import write_base_and_sets, write_rows

Errors = dict[tuple[int, str, str], tuple[float, float]]
"""(block, layer, language) -> error before and after."""

ERRORS: Errors = {
    (0, "fc1", "fr"): (0.10, 0.05),
    (0, "fc2", "fr"): (0.30, 0.18),
    (1, "fc1", "fr"): (0.20, 0.12),
    (0, "fc1", "sw"): (0.10, 0.13),
    (0, "fc2", "sw"): (0.20, 0.19),
    (1, "fc1", "sw"): (0.00, 0.00),
}


@pytest.fixture
def refined(tmp_path: Path) -> Catalog:
    """The catalog of a variant over French and Swahili that was refined by Gram swaps."""
    store = Store(tmp_path / "store")
    base_id, sets = write_base_and_sets(store, ("fr", "sw"))
    variant = {"variant_id": "@id", "base_model_id": base_id, "score": "wanda", "structure": "row", "sparsity": 0.5}
    variant |= {"achieved_sparsity": 0.5, "refiner": "gram_swaps", "aggregation": "mean", "propagation": "dense"}
    links = [
        {"variant_id": "@id", "demonstration_set_id": set_id, "role": "calibration", "weight": 0.5}
        for set_id in sets.values()
    ]
    rows = {"variants": [variant], "variant_demonstrations": links, "variant_layers": [], "variant_parents": []}
    variant_id = write_rows(store, "variants", parameters={}, rows=rows)
    for block in (0, 1):
        layers = [
            {"variant_id": variant_id, "block": block, "layer": layer, "demonstration_set_id": sets[language]}
            | {"error_before": before, "error_after": after, "n_swaps": 7, "n_rows_changed": 3}
            for (of_block, layer, language), (before, after) in ERRORS.items()
            if of_block == block
        ]
        write_rows(store, "mask_blocks", parameters={"block": block}, rows={"refined_layers": layers})
    return Catalog.in_memory(store)


def test_the_language_whose_errors_grew_pays_for_the_swaps(refined: Catalog) -> None:
    errors: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for (_, _, language), pair in ERRORS.items():
        errors[language].append(pair)
    with refined:
        rows = answers(refined, "refinement_by_language")
    assert [(row["language"], row["rank"], row["n_worse"]) for row in rows] == [("sw", 1, 1), ("fr", 2, 0)]
    for row in rows:
        pairs = errors[row["language"]]
        assert row["mean_before"] == pytest.approx(fmean(before for before, _ in pairs))
        assert row["mean_after"] == pytest.approx(fmean(after for _, after in pairs))
        assert row["mean_change"] == pytest.approx(fmean(after / before - 1 for before, after in pairs if before))
        assert (row["n_layers"], row["n_swaps"], row["weight"], row["refiner"]) == (3, 21, 0.5, "gram_swaps")


def test_a_language_can_be_selected_and_keeps_its_rank(refined: Catalog) -> None:
    with refined:
        (row,) = answers(refined, "refinement_by_language", "language=fr")
    assert (row["language"], row["rank"]) == ("fr", 2)


def test_every_layer_has_its_change_per_set(refined: Catalog) -> None:
    with refined:
        rows = answers(refined, "refinement_by_layer")
    found = {(row["block"], row["layer"], row["demonstrations"]): row["change"] for row in rows}
    assert found == {
        key: pytest.approx(after / before - 1) if before else None for key, (before, after) in ERRORS.items()
    }
