"""Combinations of keep masks, by set algebra on the parents' kept weights."""

import pytest

from mlprune.steps.prune.combine import CombineJob
from mlprune.steps.prune.plan import PlannedVariant
from mlprune.steps.prune.variant import CombinedVariant
from tests.tiny_recipes import FinishedRun

Kept = set[tuple[int, str, int]]


def kept(run: FinishedRun, variant_id: str) -> Kept:
    """(block, layer, place) of every weight that stays."""
    masks = run.keep_masks(variant_id).items()
    return {(*key, place) for key, mask in masks for place in mask.flatten().nonzero().flatten().tolist()}


def combinations(run: FinishedRun) -> list[PlannedVariant]:
    return [one for one in run.plan.variants.values() if isinstance(one.spec, CombinedVariant)]


@pytest.mark.parametrize(
    ("how", "together"),
    [
        ("intersection", Kept.intersection),
        ("union", Kept.union),
        ("difference", Kept.difference),
        ("symmetric_difference", Kept.symmetric_difference),
    ],
)
def test_a_combination_is_the_set_operation_on_the_kept_weights_of_its_parents(
    method_run: FinishedRun, how: str, together: object
) -> None:
    matching = [one for one in combinations(method_run) if one.spec.combination == how]
    assert {one.spec.propagation for one in matching} == {"dense", "sequential"}
    for one in matching:
        first, second = (kept(method_run, parent) for parent in one.spec.parent_ids)
        assert callable(together)
        assert kept(method_run, one.id) == together(first, second)
        assert first != second


def test_the_achieved_sparsity_is_counted(method_run: FinishedRun) -> None:
    for one in combinations(method_run):
        row = method_run.row("variants", one.id)
        n_weights = sum(mask.numel() for mask in method_run.keep_masks(one.id).values())
        assert row["sparsity"] == row["achieved_sparsity"] == 1 - len(kept(method_run, one.id)) / n_weights
    sparsities = {
        one.spec.combination: method_run.row("variants", one.id)["sparsity"] for one in combinations(method_run)
    }
    assert sparsities["union"] < 0.5 < sparsities["intersection"]


def test_parents_are_stored_in_order(method_run: FinishedRun) -> None:
    for one in combinations(method_run):
        rows = method_run.store.require("variants", one.id).rows["variant_parents"]
        assert rows == [
            {"variant_id": one.id, "parent_variant_id": parent, "role": f"parent {place}"}
            for place, parent in enumerate(one.spec.parent_ids, start=1)
        ]
        assert "variant_demonstrations" not in method_run.store.require("variants", one.id).rows


def test_the_row_has_what_the_parents_share(method_run: FinishedRun) -> None:
    for one in combinations(method_run):
        row = method_run.row("variants", one.id)
        parents = [method_run.row("variants", parent) for parent in one.spec.parent_ids]
        for name in ("score", "structure", "propagation", "profile", "removes", "schedule", "scope", "token_scope"):
            values = {parent[name] for parent in parents}
            assert row[name] == (values.pop() if len(values) == 1 else None)
        assert (row["combination"], row["weights_changed"]) == (one.spec.combination, False)


def test_a_combination_reads_no_model(method_run: FinishedRun) -> None:
    jobs = [job for job in method_run.plan.jobs if isinstance(job, CombineJob)]
    assert len(jobs) == len(combinations(method_run)) == 10
    assert {(job.step, job.needs_chain) for job in jobs} == {("prune", False)}
