"""Outlier ratios of the dense model, compared with scores by hand, and the resulting sparsities."""

import pytest

from mlprune.steps.prune.block_values.outliers import OutliersJob, read_ratios
from mlprune.steps.prune.plan import PlannedVariant
from mlprune.steps.prune.stored_masks import require_masks
from tests.method_reference import ByHand
from tests.tiny_recipes import FinishedRun


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
    result = [one.value for one in read_ratios(method_run.store, outliers_of(method_run, variant))]
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
    ratios = [one.value for one in read_ratios(method_run.store, outliers_of(method_run, variant))]
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
