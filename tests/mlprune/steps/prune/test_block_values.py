"""Values of blocks of the dense model, and scores that change its weights, compared with values by hand."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from mlprune.models.checkpoint.weight_files import read_block
from mlprune.numeric.weights.alps import alps
from mlprune.numeric.weights.sparsegpt import sparsegpt
from mlprune.planning import build_plan
from mlprune.pruning.mask_files import read_block_weights
from mlprune.recipe.loading import parse_recipe
from mlprune.steps.prune.block_values import (
    READERS,
    BlockScoresJob,
    OutliersJob,
    SpectraJob,
    read_block_values,
    values_key,
)
from mlprune.steps.prune.sweep import SweepJob
from mlprune.steps.variants.planned_variant import PlannedVariant
from mlprune.steps.variants.variant_rows import require_masks
from tests.method_reference import LAYERS, ByHand
from tests.spectra_reference import peak_exponent
from tests.tiny_recipes import FinishedRun, finished_run, gram_matrices, reference_model, small_recipe


@pytest.mark.parametrize("propagation", ["dense", "sequential"])
def test_values_are_the_mean_scores_of_the_dense_model(method_run: FinishedRun, propagation: str) -> None:
    (variant,) = method_run.named("dlp", propagation)
    key = values_key(require_masks(method_run.store, variant.id).record)
    assert key is not None
    values = read_block_values(method_run.store, key)
    expected = [float(flat.mean()) for flat in ByHand(method_run.folder, variant).wanda_scores()]
    # the root of a sum over 4 demonstrations, where the reference has the mean
    assert [one.value for one in values] == pytest.approx([2 * mean for mean in expected], rel=1e-6)
    assert len({one.n_weights for one in values}) == 1


def test_one_record_of_values_serves_both_propagations(method_run: FinishedRun) -> None:
    jobs = {job.identity.id for job in method_run.plan.jobs if isinstance(job, BlockScoresJob)}
    assert len(jobs) == 1
    rows = [row for row in method_run.rows("block_values") if row["name"] == "mean_score"]
    assert [(row["block_values_id"], row["name"], row["block"]) for row in rows] == [
        (one, "mean_score", block) for one in sorted(jobs) for block in range(3)
    ]


def test_every_kind_of_values_has_a_reader(method_run: FinishedRun) -> None:
    kinds = {key[0] for job in method_run.plan.jobs for key in job.makes} & {"outliers", "block_values"}
    assert kinds == set(READERS)


def outliers_of(run: FinishedRun, variant: PlannedVariant) -> str:
    """Id of the outlier ratios of the variant's masks."""
    ordering = require_masks(run.store, variant.id).record
    return str(ordering.parents["outliers"])


@pytest.mark.parametrize("propagation", ["dense", "sequential"])
def test_ratios_are_the_shares_of_wanda_scores_above_m_times_their_mean(
    method_run: FinishedRun, propagation: str
) -> None:
    (variant,) = method_run.named("owl", propagation)
    expected = ByHand(method_run.folder, variant).outlier_ratios()
    result = [one.value for one in read_block_values(method_run.store, ("outliers", outliers_of(method_run, variant)))]
    assert result == pytest.approx(expected, abs=1e-12)
    assert len(set(result)) == 3


def test_ratios_are_in_the_catalog_block_by_block(method_run: FinishedRun) -> None:
    jobs = {job.identity.id: job for job in method_run.plan.jobs if isinstance(job, OutliersJob)}
    assert len(jobs) == 1
    rows = method_run.rows("outlier_ratios")
    assert [(row["outliers_id"], row["block"]) for row in rows] == [(one, block) for one in jobs for block in range(3)]
    assert {row["m"] for row in rows} == {2.0}
    assert {row["base_model_id"] for row in rows} == {method_run.plan.model.base_model_id}


def test_a_block_has_the_mean_exponent_of_its_layers(method_run: FinishedRun) -> None:
    (variant,) = method_run.named("alpha-pruning")
    key = values_key(require_masks(method_run.store, variant.id).record)
    assert key is not None
    by_hand = ByHand(method_run.folder, variant)
    expected = [
        np.mean([peak_exponent(by_hand.weight(block, layer).double().numpy()) for layer in LAYERS])
        for block in range(3)
    ]
    values = read_block_values(method_run.store, key)
    assert [one.value for one in values] == pytest.approx(expected, rel=1e-6)


def test_spectra_read_no_demonstrations_and_are_in_the_catalog_layer_by_layer(method_run: FinishedRun) -> None:
    jobs = [job for job in method_run.plan.jobs if isinstance(job, SpectraJob)]
    assert [(job.block, job.needs) for job in jobs] == [(block, ()) for block in range(3)]
    rows = [row for row in method_run.rows("layer_spectra") if row["cutoff"] == "half"]
    assert sorted((row["block"], row["layer"]) for row in rows) == sorted(
        (block, layer) for block in range(3) for layer in LAYERS
    )
    assert all(row["n_tail"] == row["n_eigenvalues"] - row["n_eigenvalues"] // 2 for row in rows)


SHARES = {"fr": 0.25, "sw": 0.75}

Weights = Mapping[tuple[int, str], Tensor]
"""(block, layer) -> [out, in]."""


def recipe() -> dict[str, Any]:
    """Both reconstructions on one set and over two, and the second one evaluated."""
    (entry,) = small_recipe()["demonstrations"]
    half = {"sparsity": 0.5, "propagation": "dense"}
    one, both = {"demonstrations": "fr"}, {"over": ["fr", "sw"], "aggregate": "mean", "shares": [1, 3]}
    return {
        **small_recipe(),
        "demonstrations": [{**entry, "name": name, "source": name, "samples": 3} for name in SHARES],
        "variants": [
            {"name": "sparsegpt", "score": "sparsegpt", **one, **half},
            {"name": "alps", "score": "alps", **one, "structure": "2:4", "propagation": "dense"},
            {"name": "sparsegpt-over", "score": "sparsegpt", "structure": "row", **both, **half},
            {"name": "swept", "score": "sparsegpt", "structure": "row", **both, "sparsity": 0.5},
        ],
        "evaluations": [{"task": "facts", "path": "facts", "languages": ["fr"], "variants": ["alps"]}],
    }


@pytest.fixture(scope="module")
def run(tiny_inputs: Path) -> Iterator[FinishedRun]:
    return finished_run(tiny_inputs, recipe(), name="dense-reconstructions")


@pytest.fixture(scope="module")
def grams(run: FinishedRun) -> dict[str, dict[tuple[int, str], Tensor]]:
    """Language -> (block, layer) -> float64 Gram matrix of its inputs in transformers' model."""
    model, found = reference_model(run.folder / "model"), {}
    for row in run.rows("demonstration_sets"):
        (table, *_) = run.store.require("demonstration_sets", row["demonstration_set_id"]).artefacts
        texts = run.store.read_table(table)["token_ids"]
        found[row["source_language"]] = gram_matrices(model, texts, layers=LAYERS)
    return found


def stored(run: FinishedRun, name: str) -> tuple[Weights, Weights]:
    """Masks and new weights of a variant."""
    (variant,) = run.named(name)
    files = require_masks(run.store, variant.id).weights
    blocks = [read_block_weights(run.store, artefact) for artefact in files]
    weights = {(block, layer): one for block, found in enumerate(blocks) for layer, one in found.items()}
    return run.keep_masks(variant.id), weights


def assert_equals_kernel(
    run: FinishedRun, name: str, grams: Weights, kernel: Any, *, ties: int = 0, **options: Any
) -> None:
    """Compare masks, but for a number of near ties in a layer, and the weights of layers with equal masks."""
    masks, weights = stored(run, name)
    assert set(weights) == set(grams)
    n_equal = 0
    for key, gram in grams.items():
        expected = kernel(read_block(run.folder / "model", key[0], dtype="float32")[key[1]], gram, **options)
        assert int((masks[key] ^ expected.keep).sum()) <= ties
        if torch.equal(masks[key], expected.keep):
            n_equal += 1
            assert float((weights[key] - expected.weight).norm() / expected.weight.norm()) < 1e-4
    assert n_equal > len(grams) / 2


def test_sparsegpt_and_alps_read_the_gram_matrices_of_the_dense_model(run: FinishedRun, grams: Any) -> None:
    assert_equals_kernel(run, "sparsegpt", grams["fr"], sparsegpt, sparsity=0.5)
    assert_equals_kernel(run, "alps", grams["fr"], alps, ties=4, sparsity=0.5, structure="2:4")


def combined(grams: Any) -> dict[tuple[int, str], Tensor]:
    """The sum of the Gram matrices of the languages, each divided by its trace and weighted by its share."""
    return {
        key: sum(share * grams[language][key] / grams[language][key].trace() for language, share in SHARES.items())
        for key in grams["fr"]
    }


def test_gram_matrices_of_several_languages_are_added_with_equal_traces_and_their_shares(
    run: FinishedRun, grams: Any
) -> None:
    assert_equals_kernel(run, "sparsegpt-over", combined(grams), sparsegpt, sparsity=0.5, structure="row")


def test_the_first_block_of_a_sweep_over_several_languages_equals_that_of_the_dense_model(run: FinishedRun) -> None:
    (masks, weights), (dense_masks, dense_weights) = stored(run, "swept"), stored(run, "sparsegpt-over")
    for layer in LAYERS:
        assert torch.equal(masks[0, layer], dense_masks[0, layer])
        torch.testing.assert_close(weights[0, layer], dense_weights[0, layer], rtol=1e-4, atol=1e-6)
    assert any(not torch.equal(weights[1, layer], dense_weights[1, layer]) for layer in LAYERS)


def test_a_variant_with_new_weights_of_dense_propagation_is_evaluated(run: FinishedRun) -> None:
    (variant,) = run.named("alps")
    row = run.row("variants", variant.id)
    assert (row["weights_changed"], row["propagation"], row["achieved_sparsity"]) == (True, "dense", 0.5)
    assert {one["n_dampings"] for one in run.store.require("variants", variant.id).rows["variant_layers"]} == {0}
    evaluated = {one["variant_id"] for one in run.rows("evaluations")}
    assert variant.id in evaluated


def test_variants_of_different_sparsity_share_no_ordering_and_a_sweep_of_one_set_adds_exact_products(
    tiny_inputs: Path,
) -> None:
    variants = [
        {"name": "two", "score": "alps", "demonstrations": "fr", "sparsity": [0.25, 0.5], "propagation": "dense"},
        {"name": "swept", "score": "sparsegpt", "demonstrations": "fr", "sparsity": 0.5},
        {"name": "over", "score": "sparsegpt", "over": ["fr", "sw"], "aggregate": "mean", "sparsity": 0.5},
    ]
    plan = build_plan(parse_recipe({**recipe(), "variants": variants, "evaluations": []}, folder=tiny_inputs))
    orderings = {key for job in plan.jobs for key in job.makes if key[0] == "masks"}
    assert len(orderings) == 4
    sweeps = {len(job.variant.set_ids): job.variant for job in plan.jobs if isinstance(job, SweepJob)}
    assert (sweeps[1].reads_exact_products, sweeps[2].reads_exact_products) == (True, False)
