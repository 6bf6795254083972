"""Mean scores of blocks of the dense model, compared with scores by hand, and the resulting masks."""

import numpy as np
import pytest

from mlprune.steps.prune.block_values import (
    READERS,
    BlockScoresJob,
    OutliersJob,
    SpectraJob,
    read_block_values,
    values_key,
)
from mlprune.steps.variants.planned_variant import PlannedVariant
from mlprune.steps.variants.variant_rows import require_masks
from tests.method_reference import LAYERS, ByHand
from tests.spectra_reference import peak_exponent
from tests.tiny_recipes import FinishedRun


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


@pytest.mark.parametrize("propagation", ["dense", "sequential"])
def test_blocks_with_higher_scores_are_pruned_more(method_run: FinishedRun, propagation: str) -> None:
    (variant,) = method_run.named("dlp", propagation)
    wanted = ByHand(method_run.folder, variant).sparsities()
    assert sum(wanted[block, "fc1"] for block in range(3)) / 3 == pytest.approx(0.5)
    for (block, layer), mask in method_run.keep_masks(variant.id).items():
        assert (~mask).sum(dim=1).tolist() == [int(wanted[block, layer] * mask.shape[1])] * mask.shape[0]


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


@pytest.mark.parametrize("propagation", ["dense", "sequential"])
def test_blocks_with_more_outliers_are_pruned_less_and_the_mean_is_the_requested_sparsity(
    method_run: FinishedRun, propagation: str
) -> None:
    (variant,) = method_run.named("owl", propagation)
    ratios = [one.value for one in read_block_values(method_run.store, ("outliers", outliers_of(method_run, variant)))]
    scaled = [0.4 * (one - min(ratios)) / (max(ratios) - min(ratios)) for one in ratios]
    wanted = [0.5 - one + sum(scaled) / 3 for one in scaled]
    assert sum(wanted) / 3 == pytest.approx(0.5)
    for (block, _), mask in method_run.keep_masks(variant.id).items():
        d_in = mask.shape[1]
        assert (~mask).sum(dim=1).tolist() == [int(wanted[block] * d_in)] * mask.shape[0]
    order = sorted(range(3), key=lambda block: ratios[block])
    assert sorted(wanted, reverse=True) == [wanted[block] for block in order]
    row = method_run.row("variants", variant.id)
    assert row["schedule"] == "owl"
    assert 0.4 < row["achieved_sparsity"] < 0.5


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


def test_blocks_with_higher_exponents_are_pruned_more_and_the_mean_stays(method_run: FinishedRun) -> None:
    (variant,) = method_run.named("alpha-pruning")
    wanted = ByHand(method_run.folder, variant).sparsities()
    assert sum(wanted[block, "fc1"] for block in range(3)) / 3 == pytest.approx(0.5)
    for (block, layer), mask in method_run.keep_masks(variant.id).items():
        assert (~mask).sum(dim=1).tolist() == [int(wanted[block, layer] * mask.shape[1])] * mask.shape[0]


def test_spectra_read_no_demonstrations_and_are_in_the_catalog_layer_by_layer(method_run: FinishedRun) -> None:
    jobs = [job for job in method_run.plan.jobs if isinstance(job, SpectraJob)]
    assert [(job.block, job.needs) for job in jobs] == [(block, ()) for block in range(3)]
    rows = [row for row in method_run.rows("layer_spectra") if row["cutoff"] == "half"]
    assert sorted((row["block"], row["layer"]) for row in rows) == sorted(
        (block, layer) for block in range(3) for layer in LAYERS
    )
    assert all(row["n_tail"] == row["n_eigenvalues"] - row["n_eigenvalues"] // 2 for row in rows)
