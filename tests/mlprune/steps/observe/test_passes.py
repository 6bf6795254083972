"""Parts, ids and costs of the dense passes; costs are counted by hand for the tiny model."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlprune.capabilities.neurons.neuron_activity import NeuronActivityJob
from mlprune.planning import Plan
from mlprune.planning.resources.actor_memory import costs_of
from mlprune.recipe.loading import parse_recipe
from mlprune.recipe.models import Recipe
from mlprune.steps.demonstrate.planned_sets import plan_sets
from mlprune.steps.demonstrate.writing import MixJob
from mlprune.steps.inputs import Inputs, open_inputs
from mlprune.steps.job import SMALL_JOB_BYTES
from mlprune.steps.observe import passes
from mlprune.steps.observe.activations import ActivationsJob
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
from tests.mlprune.steps.job_costs import INPUT_FEATURES, N_WEIGHTS, SET_TOKENS, costs_by_class, sizes_of
from tests.tiny_recipes import plan_of, small_recipe, tiny_recipe, write_inputs, write_recipe

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
    parameters = {"propagation": "dense", "token_scope": "all", "dtype": "float32", "batch_tokens": 128}
    assert usual.identity.parameters == parameters
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


@pytest.fixture(scope="module")
def observe_job(tiny_plan: Plan) -> ObserveJob:
    return next(job for job in tiny_plan.jobs if isinstance(job, ObserveJob))


def test_observing_multiplies_every_token_with_every_weight_of_the_blocks_once(tiny_plan: Plan) -> None:
    mixed = {job.identity.id for job in tiny_plan.jobs if isinstance(job, MixJob)}
    assert mixed
    for job, cost in costs_by_class(tiny_plan, ObserveJob):
        n_tokens = 3 * SET_TOKENS if job.demonstration_set_id in mixed else SET_TOKENS
        assert cost.flops == 2 * n_tokens * N_WEIGHTS
        assert cost.disk_bytes == 4 * (n_tokens // 48) * INPUT_FEATURES
        assert (cost.n_passes, cost.runs_model) == (1, True)


def test_counting_neurons_costs_the_operations_of_observing_and_a_few_digits_per_neuron(
    tiny_plan: Plan, observe_job: ObserveJob
) -> None:
    of_set = observe_job.identity, observe_job.model, observe_job.demonstration_set_id
    count_job = NeuronActivityJob(*of_set, batch_tokens=observe_job.batch_tokens)
    observe_cost, count_cost = costs_of(tiny_plan, sizes_of(tiny_plan), [observe_job, count_job])
    assert (count_cost.flops, count_cost.n_passes) == (observe_cost.flops, observe_cost.n_passes)
    assert count_cost.disk_bytes == 6 * 64 * 3


def test_a_part_of_a_set_costs_its_share(tiny_plan: Plan, observe_job: ObserveJob) -> None:
    of_set = observe_job.identity, observe_job.model, observe_job.demonstration_set_id
    part_job = ObservePartJob(*of_set, observe_job.identity.id, range(1, 4), batch_tokens=observe_job.batch_tokens)
    whole_cost, part_cost = costs_of(tiny_plan, sizes_of(tiny_plan), [observe_job, part_job])
    assert part_cost.flops == 3 / 4 * whole_cost.flops
    assert part_cost.disk_bytes == 3 / 4 * whole_cost.disk_bytes


def test_raw_activations_need_memory_for_their_largest_part_and_disk_space_for_all(
    tiny_plan: Plan, observe_job: ObserveJob
) -> None:
    of_set = observe_job.identity, observe_job.model, observe_job.demonstration_set_id
    stored: dict[str, Any] = {"blocks": (1,), "inputs": ("fc2",), "parts": (range(2), range(2, 3)), "dtype": "float16"}
    sizes: dict[str, Any] = {"batch_tokens": 128, "most_bytes": 3 * 2**20, "quota_gib": 1.0}
    job = ActivationsJob(*of_set, set_name="mt", **stored, **sizes)
    (cost,) = costs_of(tiny_plan, sizes_of(tiny_plan), [job])
    assert cost.disk_bytes == 3 * 2**20
    assert cost.fixed_bytes == SMALL_JOB_BYTES + 3 * 2 * 2 * 2**20
    one_pass = 3 / 4 * 2 * SET_TOKENS * N_WEIGHTS
    assert (cost.n_passes, cost.flops) == (2, 2 * one_pass), "an observed block runs twice"


@pytest.mark.thorough("runs a model for every case")
def test_a_model_with_transposed_weights_has_the_same_cost(tmp_path_factory: pytest.TempPathFactory) -> None:
    inputs = write_inputs(tmp_path_factory.mktemp("gpt2"), family="gpt2")
    plan = plan_of(write_recipe(inputs, small_recipe()))
    _, cost = costs_by_class(plan, ObserveJob)[0]
    assert cost.flops == 2 * SET_TOKENS * N_WEIGHTS
    assert cost.disk_bytes == 4 * 4 * INPUT_FEATURES
