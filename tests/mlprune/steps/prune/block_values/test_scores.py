"""Mean scores of blocks of the dense model, compared with scores by hand, and the resulting masks."""

import pytest

from mlprune.steps.prune.block_values.plan import READERS, read_block_values, values_key
from mlprune.steps.prune.block_values.scores import BlockScoresJob
from mlprune.steps.prune.stored_masks import require_masks
from tests.method_reference import ByHand
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
