"""Parts and ids of the dense passes."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlprune.recipe import Recipe, parse_recipe
from mlprune.steps.demonstrate.planned_sets import plan_sets
from mlprune.steps.inputs import Inputs, open_inputs
from mlprune.steps.observe import passes
from mlprune.steps.observe.passes import (
    PART_BYTES,
    PART_TOKENS,
    PlannedObservation,
    input_widths,
    plan_observation,
    split_demonstrations,
)
from mlprune.steps.observe.statistics import CollectPartsJob, ObserveJob, ObservePartJob
from mlprune.steps.sets import PlannedSet
from tests.tiny_recipes import tiny_recipe

MT: dict[str, Any] = {**tiny_recipe()["demonstrations"][0], "source": "fr"}


def planned(folder: Path, **entry: Any) -> tuple[Recipe, Inputs, PlannedSet]:
    """A recipe of one translation set."""
    recipe = parse_recipe(
        {**tiny_recipe(), "demonstrations": [{**MT, **entry}], "variants": [], "evaluations": []}, folder=folder
    )
    inputs = open_inputs(recipe)
    return recipe, inputs, plan_sets(recipe, inputs, evaluated=frozenset())["mt"][0]


@given(st.integers(1, 5000), st.integers(2, 4096), st.integers(1, 2**26))
def test_parts_are_consecutive_even_and_within_the_bounds(n: int, max_tokens: int, n_bytes: int) -> None:
    parts = split_demonstrations(n, max_tokens=max_tokens, n_bytes=n_bytes)
    assert [one for part in parts for one in part] == list(range(n))
    sizes = sorted(len(part) for part in parts)
    assert sizes[-1] - sizes[0] <= 1
    for unit, bound in ((max_tokens, PART_TOKENS), (n_bytes, PART_BYTES)):
        assert sizes[-1] == 1 or sizes[-1] * unit <= bound
    if len(parts) > 1:
        fewer = -(-n // (len(parts) - 1))
        assert fewer * max_tokens > PART_TOKENS or fewer * n_bytes > PART_BYTES, "as few parts as possible"


def test_a_set_as_large_as_in_the_paper_is_one_part() -> None:
    xglm_564m = 4 * 24 * (3 * 1024 + 4096)
    assert split_demonstrations(100, max_tokens=512, n_bytes=xglm_564m) == [range(100)]
    assert split_demonstrations(256, max_tokens=512, n_bytes=xglm_564m) == [range(256)]
    assert len(split_demonstrations(257, max_tokens=512, n_bytes=xglm_564m)) == 2


def test_widths_are_those_of_the_distinct_inputs(tiny_inputs: Path) -> None:
    _, inputs, _ = planned(tiny_inputs)
    widths = {"self_attn.q_proj": 16, "self_attn.out_proj": 16, "fc1": 16, "fc2": 64}
    assert input_widths(inputs.model) == widths


def test_an_observation_is_named_by_its_set_scope_and_batches(tiny_inputs: Path) -> None:
    recipe, inputs, one = planned(tiny_inputs)
    usual, target = plan_observation(recipe, inputs, one), plan_observation(recipe, inputs, one, "target")
    assert usual.identity.parameters == {
        "propagation": "dense",
        "token_scope": "all",
        "dtype": "float32",
        "batch_tokens": 128,
    }
    assert usual.identity.parents == {"base_model": inputs.base.id, "demonstration_set": one.id}
    assert target.identity.parameters == {**usual.identity.parameters, "token_scope": "target"}
    assert (usual.token_scope, target.token_scope, target.demonstration_set_id) == ("all", "target", one.id)
    (job,) = usual.jobs
    assert isinstance(job, ObserveJob)
    assert (job.identity, job.needs) == (usual.identity, (one.identity.key,))


def test_a_large_set_has_a_job_per_part_and_one_that_needs_them_all(
    tiny_inputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, inputs, one = planned(tiny_inputs)
    whole = plan_observation(recipe, inputs, one)
    monkeypatch.setattr(passes, "PART_TOKENS", 2 * 48)
    found = plan_observation(recipe, inputs, one)
    *parts, collect = found.jobs
    assert isinstance(collect, CollectPartsJob)
    assert all(isinstance(part, ObservePartJob) and part.needs == (one.identity.key,) for part in parts)
    assert found.identity.parameters == {**whole.identity.parameters, "parts": 2}
    assert collect.needs == (one.identity.key, *(part.makes[0] for part in parts))
    assert collect.makes == (found.identity.key,)
    assert _cuts(found) == [(0, 2), (2, 2)]


@pytest.mark.parametrize("replicas", [1, 3])
def test_parts_do_not_depend_on_the_number_of_workers(
    tiny_inputs: Path, monkeypatch: pytest.MonkeyPatch, replicas: int
) -> None:
    monkeypatch.setattr(passes, "PART_TOKENS", 48)
    recipe, inputs, one = planned(tiny_inputs)
    other = recipe.model_copy(update={"compute": recipe.compute.model_copy(update={"replicas": replicas})})
    assert plan_observation(other, inputs, one) == plan_observation(recipe, inputs, one)


def _cuts(found: PlannedObservation) -> list[tuple[int, int]]:
    return [
        (job.identity.parameters["first"], job.identity.parameters["n"])
        for job in found.jobs
        if isinstance(job, ObservePartJob)
    ]
