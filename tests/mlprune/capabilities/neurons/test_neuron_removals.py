"""Removed weights of every neuron, compared with the masks of a variant."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from mlprune.capabilities.neurons.neuron_removals import NeuronRemovalsJob
from mlprune.planning import build_plan
from mlprune.recipe.loading import parse_recipe
from tests.tiny_recipes import FinishedRun, finished_run, small_recipe, tiny_recipe


@pytest.fixture(scope="module")
def run(tiny_inputs: Path) -> Iterator[FinishedRun]:
    """Two variants whose neurons are counted, and one whose neurons are not."""
    recipe = {**small_recipe(), "evaluations": [], "analyses": {"neuron_variants": ["ordering"]}}
    return finished_run(tiny_inputs, recipe, name="removals")


def test_removals_of_a_neuron_are_counted_in_the_masks_of_a_variant(run: FinishedRun) -> None:
    jobs = [job for job in run.plan.jobs if isinstance(job, NeuronRemovalsJob)]
    assert [job.variant_id for job in jobs] == [one.id for one in run.named("ordering")]
    for job in jobs:
        masks = run.keep_masks(job.variant_id)
        rows = run.store.require(*job.identity.key).rows["neuron_removals"]
        assert [row["block"] for row in rows] == [0, 1, 2]
        for row in rows:
            before, after = (~masks[row["block"], layer] for layer in ("fc1", "fc2"))
            assert (row["n_before"], row["n_after"]) == (16, 16)
            assert row["removed_before"] == [int(one.sum()) for one in before]
            assert row["removed_after"] == [int(one.sum()) for one in after.T]
            assert sum(row["removed_after"]) == int(after.sum()) > 0


def test_removals_are_counted_for_named_entries_and_never_for_the_dense_model(tiny_inputs: Path) -> None:
    recipe = {**tiny_recipe(), "evaluations": [], "analyses": {"neuron_variants": ["magnitude", "random"]}}
    plan = build_plan(parse_recipe(recipe, folder=tiny_inputs))
    found = [job.variant_id for job in plan.jobs if isinstance(job, NeuronRemovalsJob)]
    named = [one for one in plan.variants.values() if {"magnitude", "random"} & {entry.name for entry in one.entries}]
    assert [one.is_dense for one in named].count(True) == 1
    assert found == [one.id for one in named if not one.is_dense]
    assert len(found) == 3
