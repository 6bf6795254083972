"""Exponents of the blocks of the dense model, compared with singular values by hand, and the resulting masks."""

import numpy as np
import pytest

from mlprune.steps.prune.block_values.plan import read_block_values, values_key
from mlprune.steps.prune.block_values.spectra import SpectraJob
from mlprune.steps.prune.stored_masks import require_masks
from tests.method_reference import LAYERS, ByHand
from tests.spectra_reference import peak_exponent
from tests.tiny_recipes import FinishedRun


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
