"""Stored overlaps of masks and of features, compared with plain computation."""

from itertools import permutations

import numpy as np
import torch

from mlprune.steps.compare.overlap_jobs import MaskOverlapJob
from tests.tiny_recipes import FinishedRun


def test_mask_overlaps_are_the_jaccard_of_removed_weights(tiny_run: FinishedRun) -> None:
    rows = tiny_run.rows("mask_overlaps")
    pairs = {(row["variant_a"], row["variant_b"]) for row in rows}
    assert len(pairs) == len([job for job in tiny_run.plan.jobs if isinstance(job, MaskOverlapJob)])
    for a, b in pairs:
        assert a < b
        masks = [tiny_run.keep_masks(variant_id) for variant_id in (a, b)]
        for row in (row for row in rows if (row["variant_a"], row["variant_b"]) == (a, b)):
            first, second = (~mask[row["block"], row["layer"]] for mask in masks)
            both, either = int((first & second).sum()), int((first | second).sum())
            assert row["jaccard"] == both / either
            assert 0 < row["jaccard"] < 1 or torch.equal(first, second)


def test_feature_overlaps_compare_top_with_bottom_both_ways(tiny_run: FinishedRun) -> None:
    rows = tiny_run.rows("feature_overlaps")
    magnitudes: dict[str, np.ndarray] = {}
    for record in tiny_run.store.records("statistics"):
        file = next(artefact for artefact in record.artefacts if artefact.path.startswith("features/"))
        table = tiny_run.store.read_table(file)
        set_id = record.rows["statistics"][0]["demonstration_set_id"]
        magnitudes[set_id] = np.array(table["magnitude"]).reshape(4, 16)
    assert {(row["set_a"], row["set_b"]) for row in rows} == set(permutations(magnitudes, 2))
    for row in rows:
        a, b = (magnitudes[row[key]][row["depth"]].tolist() for key in ("set_a", "set_b"))
        top = sorted(range(16), key=lambda index: (-a[index], index))[:5]
        bottom = sorted(range(16), key=lambda index: (b[index], index))[:5]
        assert (row["share"], row["value"]) == (0.3, len(set(top) & set(bottom)) / 5)
