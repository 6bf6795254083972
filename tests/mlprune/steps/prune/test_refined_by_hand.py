"""Refined variants, compared with refiners called on inputs and Gram matrices computed by hand."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from mlprune.errors import BadInputError, RecipeError
from mlprune.models.local_chain import local_chain
from mlprune.models.placement.memory_estimate import Footprint
from mlprune.numeric.activations.feature_sums import feature_moments, feature_sums
from mlprune.numeric.refinement.gram_swaps import gram_swaps, recovered_weights
from mlprune.numeric.refinement.registry import REFINER_FUNCTIONS
from mlprune.numeric.weights.layer_inputs import LayerInputs, layer_error
from mlprune.planning import build_plan
from mlprune.pruning.mask_files import read_block_weights
from mlprune.recipe.loading import parse_recipe
from mlprune.steps.prune.ordering import OrderBlockJob
from mlprune.steps.prune.sweep import SweepJob
from mlprune.steps.rescore.verify import has_masks_to_rebuild, verify_variant
from mlprune.steps.variants.variant_rows import require_masks
from tests.method_reference import LAYERS, N_BLOCKS, demonstrations
from tests.tiny_models import ARCHITECTURES
from tests.tiny_recipes import (
    FinishedRun,
    contents,
    finished_run,
    gram_matrices,
    layer_inputs,
    method_recipe,
    reference_model,
    small_recipe,
    store_with_sets,
    tiny_recipe,
)

XGLM = ARCHITECTURES["xglm"].kinds[0]
SIZES = Footprint(1, (1,), 1, 1, 1, (4, 2), 8, 4, 20, 10, 4, input_products=10**6)
BOTH = ["dense", "sequential"]


def refined_recipe() -> dict[str, Any]:
    recipe = small_recipe()
    recipe["demonstrations"] += [tiny_recipe()["demonstrations"][1]]
    two = {"over": ["mt", "mono"], "aggregate": "mean", "shares": [1, 3]}
    magnitude = {"score": "magnitude", "sparsity": 0.5}
    recipe["variants"] = [
        {"name": "swaps", **magnitude, **two, "refine": "gram_swaps", "propagation": BOTH},
        {"name": "fit", **magnitude, "demonstrations": "mt", "refine": "least_squares", "propagation": BOTH},
        {"name": "dsnot", **magnitude, "demonstrations": "mt", "refine": "dsnot", "swaps": 3, "propagation": BOTH},
    ]
    recipe["evaluations"] = []
    return recipe


@pytest.fixture(scope="module")
def refined_run(tiny_inputs: Path) -> FinishedRun:
    return finished_run(tiny_inputs, refined_recipe(), name="refined-by-hand")


def inputs_by_hand(run: FinishedRun, model: Any, set_ids: tuple[str, ...], block: int) -> list[list[dict[str, Any]]]:
    """For each set and demonstration: input -> [t, in], the inputs of a block of the model."""
    sets = []
    for set_id in set_ids:
        table = run.store.read_table(run.store.require("demonstration_sets", set_id).artefacts[0])
        read = [layer_inputs(model, ids, layers=XGLM.input_names) for ids in table["token_ids"]]
        sets.append([{name: of_one[block, name] for name in XGLM.input_names} for of_one in read])
    return sets


def refined_by_hand(run: FinishedRun, variant: Any, sets: list[list[dict[str, Any]]], layer: str, weight: Any) -> Any:
    """Refine the mask that removes the smallest half of every row."""
    name, shares = XGLM.input_of(layer), variant.spec.calibration.selection.shares or (1.0,)
    products = torch.zeros(weight.shape[1], weight.shape[1], dtype=torch.float64)
    for share, of_set in zip(shares, sets, strict=True):
        tokens = torch.cat([one[name] for one in of_set]).double()
        gram = tokens.T @ tokens
        products += share * gram / gram.diagonal().sum() if len(sets) > 1 else gram
    rows = [one[name] for one in sets[0]]
    moments = feature_moments(feature_sums(rows), torch.tensor([len(one) for one in rows]))
    keep = torch.ones_like(weight, dtype=torch.bool)
    order = weight.abs().argsort(dim=1, stable=True)
    keep.scatter_(1, order[:, : weight.shape[1] // 2], value=False)
    refinement = variant.spec.refinement
    inputs = LayerInputs(weight, None, 0, layer, moments=moments, products=products)
    refine = REFINER_FUNCTIONS[refinement.refiner]
    return refine(inputs, keep, structure="row", parameters=refinement.refiner_parameters)


@pytest.mark.thorough("runs a model for every case")
@pytest.mark.parametrize("propagation", BOTH)
@pytest.mark.parametrize("name", ["swaps", "fit", "dsnot"])
def test_masks_and_weights_are_those_of_the_refiner_on_the_inputs_of_each_block(
    refined_run: FinishedRun, name: str, propagation: str
) -> None:
    (variant,) = refined_run.named(name, propagation)
    masks, files = refined_run.keep_masks(variant.id), require_masks(refined_run.store, variant.id).weights
    model, dense = (reference_model(refined_run.folder / "model") for _ in range(2))
    for block in range(3):
        sets = inputs_by_hand(refined_run, model, variant.spec.set_ids, block)
        changed = read_block_weights(refined_run.store, files[block]) if files else {}
        assert set(changed) == (set(XGLM.layers) if name == "fit" else set())
        for layer in XGLM.layers:
            weight = dense.model.layers[block].get_submodule(layer).weight.detach()
            expected = refined_by_hand(refined_run, variant, sets, layer, weight)
            assert torch.equal(masks[block, layer], expected.keep)
            assert torch.equal(masks[block, layer].sum(dim=1), torch.full((len(weight),), weight.shape[1] // 2))
            new = weight * expected.keep
            if name == "fit":
                torch.testing.assert_close(changed[layer], expected.weight, rtol=1e-4, atol=1e-5)
                new = changed[layer]
            if propagation == "sequential":
                model.model.layers[block].get_submodule(layer).weight.data.copy_(new)


@pytest.mark.thorough("runs a model for every case")
@pytest.mark.parametrize("name", ["swaps", "dsnot"])
def test_shards_change_no_byte_of_a_refined_sweep(refined_run: FinishedRun, tmp_path: Path, name: str) -> None:
    (variant,) = refined_run.named(name, "sequential")
    (job,) = (one for one in refined_run.plan.jobs if isinstance(one, SweepJob) and one.variant.id == variant.id)
    assert not job.shares_replicas
    store = store_with_sets(refined_run, *variant.spec.set_ids, folder=tmp_path / "store")
    chain = local_chain(Path(refined_run.plan.model.path), n_shards=2)
    job.run(store, lambda: chain)
    expected = contents(refined_run.store)
    assert {path for path, data in contents(store).items() if data != expected[path]} == set()


def test_masks_of_dense_propagation_are_rebuilt_from_the_stored_statistics(refined_run: FinishedRun) -> None:
    model = refined_run.folder / "model"
    for name in ("swaps", "dsnot"):
        dense, sequential = (refined_run.named(name, propagation)[0] for propagation in BOTH)
        record = refined_run.store.require("variants", dense.id)
        assert has_masks_to_rebuild(record)
        assert verify_variant(refined_run.store, record, model).is_equal
        record = refined_run.store.require("variants", sequential.id)
        assert not has_masks_to_rebuild(record)
        with pytest.raises(BadInputError):
            verify_variant(refined_run.store, record, model)


def test_a_refined_variant_has_an_ordering_of_its_own_and_needs_what_its_refiner_reads(
    refined_run: FinishedRun,
) -> None:
    recipe = refined_recipe()
    recipe["variants"] = [{**recipe["variants"][0], "propagation": "dense", "sparsity": [0.25, 0.5]}]
    plan = build_plan(parse_recipe(recipe, folder=refined_run.folder))
    jobs = [job for job in plan.jobs if isinstance(job, OrderBlockJob)]
    assert [job.ordering.sparsities for job in jobs] == [(0.25,)] * 3 + [(0.5,)] * 3
    for job in jobs:
        assert [kind for kind, _ in job.needs] == ["statistics"] * 2 + ["gram_matrices"] * 2
        assert job.cost(SIZES, {}).fixed_bytes > 8 * 3 * SIZES.input_products


MT = {"score": "magnitude", "sparsity": 0.5, "demonstrations": "mt", "refine": "gram_swaps"}


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({**MT, "demonstrations": None}, "demonstrations"),
        ({**MT, "samples": 2}, "samples"),
        ({**MT, "removes": "highest"}, "removes"),
        ({**MT, "score": "sparsegpt"}, "sparsegpt"),
        ({**MT, "sparsity": None, "structure": "2:4", "permute": True}, "permute"),
        ({**MT, "refine": "gram_swap"}, "gram_swaps"),
        ({**MT, "refine": "dsnot", "shortlist": 3}, "shortlist"),
    ],
)
def test_a_refiner_that_does_not_fit_is_refused_in_one_line(entry: dict[str, Any], words: str) -> None:
    given = {key: value for key, value in entry.items() if value is not None}
    with pytest.raises(RecipeError) as raised:
        parse_recipe({**refined_recipe(), "variants": [given]}, folder=Path())
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)


SETS = ("fr-en", "sw-en")
Grams = dict[str, dict[tuple[int, str], Tensor]]
"""Set -> (block, layer) -> [in, in] float64."""


def recipe_over_sets() -> dict[str, Any]:
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
def over_run(tiny_inputs: Path) -> FinishedRun:
    return finished_run(tiny_inputs, recipe_over_sets(), name="refined")


@pytest.fixture(scope="module")
def grams(over_run: FinishedRun) -> Grams:
    model = reference_model(over_run.folder / "model")
    texts = {name: [ids for ids, _, _ in demonstrations(over_run.folder, name, paper=False)] for name in SETS}
    return {name: gram_matrices(model, of_set, layers=LAYERS) for name, of_set in texts.items()}


@pytest.fixture(scope="module")
def weights(over_run: FinishedRun) -> dict[tuple[int, str], Tensor]:
    blocks = reference_model(over_run.folder / "model").model.layers
    return {
        (n, layer): block.get_submodule(layer).weight.detach() for n, block in enumerate(blocks) for layer in LAYERS
    }


def combined(grams: Grams, key: tuple[int, str]) -> Tensor:
    return sum((grams[name][key] / grams[name][key].trace() / len(SETS) for name in SETS), start=torch.zeros(()))


def rows_of(over_run: FinishedRun, name: str, propagation: str) -> dict[tuple[int, str, str], dict[str, Any]]:
    """(block, layer, set) -> row."""
    (variant,) = over_run.named(name, propagation)
    labels = {planned.identity.id: planned.label for planned in variant.sets}
    return {
        (row["block"], row["layer"], labels[row["demonstration_set_id"]]): row
        for row in over_run.rows("refined_layers")
        if row["variant_id"] == variant.id
    }


def test_swaps_of_the_combined_gram_matrix_make_the_stored_masks(
    over_run: FinishedRun, grams: Grams, weights: dict[tuple[int, str], Tensor]
) -> None:
    base, refined = (over_run.keep_masks(over_run.named(name, "dense")[0].id) for name in ("wanda", "swaps"))
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
    over_run: FinishedRun, grams: Grams, weights: dict[tuple[int, str], Tensor], name: str
) -> None:
    before = over_run.keep_masks(over_run.named("wanda", "dense")[0].id)
    (variant,) = over_run.named(name, "dense")
    after, new = over_run.keep_masks(variant.id), require_masks(over_run.store, variant.id).weights
    rows = rows_of(over_run, name, "dense")
    assert set(rows) == {(block, layer, one) for block in range(N_BLOCKS) for layer in LAYERS for one in SETS}
    for (block, layer, set_name), row in rows.items():
        weight, products = weights[block, layer], grams[set_name][block, layer]
        changed = weight * after[block, layer]
        if name == "recovered":
            changed = read_block_weights(over_run.store, new[block])[layer]
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
    over_run: FinishedRun, name: str
) -> None:
    dense, swept = rows_of(over_run, name, "dense"), rows_of(over_run, name, "sequential")
    assert set(dense) == set(swept)
    for key, row in dense.items():
        if key[0] == 0:
            assert swept[key]["n_swaps"] == pytest.approx(row["n_swaps"], abs=2)
            for column in ("error_before", "error_after"):
                value = row[column]
                assert swept[key][column] == (None if value is None else pytest.approx(value, rel=0.02))
    assert any(dense[key]["n_swaps"] != swept[key]["n_swaps"] for key in dense if key[0] > 0)
    assert {row["error_before"] is None for row in dense.values()} == {name == "dsnot"}


def test_every_row_and_group_has_the_sparsity_of_the_score(over_run: FinishedRun) -> None:
    for variant in over_run.plan.variants.values():
        if variant.spec.sparsity:
            for keep in over_run.keep_masks(variant.id).values():
                groups = keep.reshape(len(keep), -1, 4) if "2:4" in variant.label else keep[:, None]
                assert (groups.sum(dim=2) * 2 == groups.shape[2]).all()


@pytest.mark.parametrize("name", ["swaps", "n-m", "dsnot"])
def test_the_masks_of_a_refined_variant_can_be_verified(over_run: FinishedRun, name: str) -> None:
    (variant,) = over_run.named(name, "dense")
    record = over_run.store.require("variants", variant.id)
    result = verify_variant(over_run.store, record, over_run.folder / "model")
    assert result.is_equal
    assert record.rows["variants"][0]["refiner"] == ("dsnot" if name == "dsnot" else "gram_swaps")
