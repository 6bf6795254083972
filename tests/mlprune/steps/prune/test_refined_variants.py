"""Refined variants from recipe to store: masks and errors, compared with Gram matrices of the model's own inputs."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from mlprune.numeric.refinement.gram_swaps import gram_swaps, recovered_weights
from mlprune.numeric.weights.layer_inputs import layer_error
from mlprune.pruning.mask_files import read_block_weights
from mlprune.steps.rescore.verify import verify_variant
from mlprune.steps.variants.variant_rows import require_masks
from tests.method_reference import LAYERS, N_BLOCKS, demonstrations
from tests.tiny_recipes import FinishedRun, finished_run, gram_matrices, method_recipe, reference_model

SETS = ("fr-en", "sw-en")
Grams = dict[str, dict[tuple[int, str], Tensor]]
"""Set -> (block, layer) -> [in, in] float64."""


def refined_recipe() -> dict[str, Any]:
    base = {key: value for key, value in method_recipe().items() if key not in ("variants", "evaluations")}
    over = {"score": "wanda", "sparsity": 0.5, "over": list(SETS), "aggregate": "mean"}
    both = {**over, "propagation": ["dense", "sequential"]}
    return {
        **base,
        "variants": [
            {"name": "wanda", **both},
            {"name": "swaps", **both, "refine": "gram_swaps"},
            {"name": "n-m", **over, "structure": "2:4", "refine": "gram_swaps", "propagation": "dense"},
            {"name": "recovered", **both, "refine": "least_squares", "swaps": 2},
            {"name": "dsnot", "score": "magnitude", "sparsity": 0.5, "demonstrations": "sw-en", "refine": "dsnot"}
            | {"propagation": ["dense", "sequential"], "threshold": 0.01},
        ],
    }


@pytest.fixture(scope="module")
def run(tiny_inputs: Path) -> FinishedRun:
    return finished_run(tiny_inputs, refined_recipe(), name="refined")


@pytest.fixture(scope="module")
def grams(run: FinishedRun) -> Grams:
    model = reference_model(run.folder / "model")
    texts = {name: [ids for ids, _, _ in demonstrations(run.folder, name, paper=False)] for name in SETS}
    return {name: gram_matrices(model, of_set, layers=LAYERS) for name, of_set in texts.items()}


@pytest.fixture(scope="module")
def weights(run: FinishedRun) -> dict[tuple[int, str], Tensor]:
    blocks = reference_model(run.folder / "model").model.layers
    return {
        (n, layer): block.get_submodule(layer).weight.detach() for n, block in enumerate(blocks) for layer in LAYERS
    }


def combined(grams: Grams, key: tuple[int, str]) -> Tensor:
    return sum((grams[name][key] / grams[name][key].trace() / len(SETS) for name in SETS), start=torch.zeros(()))


def rows_of(run: FinishedRun, name: str, propagation: str) -> dict[tuple[int, str, str], dict[str, Any]]:
    """(block, layer, set) -> row."""
    (variant,) = run.named(name, propagation)
    labels = {planned.identity.id: planned.label for planned in variant.sets}
    return {
        (row["block"], row["layer"], labels[row["demonstration_set_id"]]): row
        for row in run.rows("refined_layers")
        if row["variant_id"] == variant.id
    }


def test_swaps_of_the_combined_gram_matrix_make_the_stored_masks(
    run: FinishedRun, grams: Grams, weights: dict[tuple[int, str], Tensor]
) -> None:
    base, refined = (run.keep_masks(run.named(name, "dense")[0].id) for name in ("wanda", "swaps"))
    n_different = n_swapped = 0
    for block in range(N_BLOCKS):
        for layer in LAYERS:
            keep, products = base[block, layer], combined(grams, (block, layer))
            expected = gram_swaps(weights[block, layer], keep, products=products).keep
            n_different += int((expected != refined[block, layer]).sum())
            n_swapped += int((keep != refined[block, layer]).sum())
    assert n_swapped > 500
    assert n_different <= 0.01 * n_swapped  # near ties: the stored products are float32


@pytest.mark.parametrize("name", ["swaps", "recovered"])
def test_the_errors_of_every_layer_and_language_are_those_of_the_outputs(
    run: FinishedRun, grams: Grams, weights: dict[tuple[int, str], Tensor], name: str
) -> None:
    before = run.keep_masks(run.named("wanda", "dense")[0].id)
    (variant,) = run.named(name, "dense")
    after, new = run.keep_masks(variant.id), require_masks(run.store, variant.id).weights
    rows = rows_of(run, name, "dense")
    assert set(rows) == {(block, layer, one) for block in range(N_BLOCKS) for layer in LAYERS for one in SETS}
    for (block, layer, set_name), row in rows.items():
        weight, products = weights[block, layer], grams[set_name][block, layer]
        changed = weight * after[block, layer]
        if name == "recovered":
            changed = read_block_weights(run.store, new[block])[layer]
            expected = recovered_weights(weight, after[block, layer], products=combined(grams, (block, layer)))
            torch.testing.assert_close(changed, expected, rtol=1e-3, atol=1e-5)
        assert row["error_before"] == pytest.approx(
            layer_error(weight, weight * before[block, layer], products), rel=1e-3
        )
        assert row["error_after"] == pytest.approx(layer_error(weight, changed, products), rel=1e-3)
        assert row["n_swaps"] >= int((after[block, layer] & ~before[block, layer]).sum())  # some are swapped back
    mean = {when: sum(row[f"error_{when}"] for row in rows.values()) / len(rows) for when in ("before", "after")}
    assert mean["after"] < 0.8 * mean["before"]


@pytest.mark.parametrize("name", ["swaps", "recovered", "dsnot"])
def test_a_sweep_refines_the_first_block_as_the_dense_model_and_later_ones_after_it(
    run: FinishedRun, name: str
) -> None:
    dense, swept = rows_of(run, name, "dense"), rows_of(run, name, "sequential")
    assert set(dense) == set(swept)
    for key, row in dense.items():
        if key[0] == 0:
            assert swept[key]["n_swaps"] == pytest.approx(row["n_swaps"], abs=2)
            for column in ("error_before", "error_after"):
                value = row[column]
                assert swept[key][column] == (None if value is None else pytest.approx(value, rel=0.02))
    assert any(dense[key]["n_swaps"] != swept[key]["n_swaps"] for key in dense if key[0] > 0)
    assert {row["error_before"] is None for row in dense.values()} == {name == "dsnot"}


def test_every_row_and_group_has_the_sparsity_of_the_score(run: FinishedRun) -> None:
    for variant in run.plan.variants.values():
        if variant.spec.sparsity:
            for keep in run.keep_masks(variant.id).values():
                groups = keep.reshape(len(keep), -1, 4) if "2:4" in variant.label else keep[:, None]
                assert (groups.sum(dim=2) * 2 == groups.shape[2]).all()


@pytest.mark.parametrize("name", ["swaps", "n-m", "dsnot"])
def test_the_masks_of_a_refined_variant_can_be_verified(run: FinishedRun, name: str) -> None:
    (variant,) = run.named(name, "dense")
    record = run.store.require("variants", variant.id)
    result = verify_variant(run.store, record, run.folder / "model")
    assert result.is_equal
    assert record.rows["variants"][0]["refiner"] == ("dsnot" if name == "dsnot" else "gram_swaps")
