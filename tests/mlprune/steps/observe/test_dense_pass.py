"""Costs of observing the dense model, counted by hand for the tiny model."""

import pytest

from mlprune.plan import Plan
from mlprune.plan.resources.actor_memory import costs_of
from mlprune.steps.demonstrate.writing import MixJob
from mlprune.steps.job import SMALL_JOB_BYTES
from mlprune.steps.observe.activations import ActivationsJob
from mlprune.steps.observe.hidden_states import NeuronActivityJob
from mlprune.steps.observe.statistics import ObserveJob, ObservePartJob
from tests.mlprune.steps.job_costs import INPUT_FEATURES, N_WEIGHTS, SET_TOKENS, costs_by_class, sizes_of
from tests.tiny_recipes import plan_of, small_recipe, write_inputs, write_recipe


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
    count_job = NeuronActivityJob(
        observe_job.identity,
        observe_job.model,
        observe_job.demonstration_set_id,
        batch_tokens=observe_job.batch_tokens,
    )
    observe_cost, count_cost = costs_of(tiny_plan, sizes_of(tiny_plan), [observe_job, count_job])
    assert (count_cost.flops, count_cost.n_passes) == (observe_cost.flops, observe_cost.n_passes)
    assert count_cost.disk_bytes == 6 * 64 * 3


def test_a_part_of_a_set_costs_its_share(tiny_plan: Plan, observe_job: ObserveJob) -> None:
    part_job = ObservePartJob(
        observe_job.identity,
        observe_job.model,
        observe_job.demonstration_set_id,
        observe_job.identity.id,
        range(1, 4),
        batch_tokens=observe_job.batch_tokens,
    )
    whole_cost, part_cost = costs_of(tiny_plan, sizes_of(tiny_plan), [observe_job, part_job])
    assert part_cost.flops == 3 / 4 * whole_cost.flops
    assert part_cost.disk_bytes == 3 / 4 * whole_cost.disk_bytes


def test_raw_activations_need_memory_for_their_largest_part_and_disk_space_for_all(
    tiny_plan: Plan, observe_job: ObserveJob
) -> None:
    job = ActivationsJob(
        observe_job.identity,
        observe_job.model,
        observe_job.demonstration_set_id,
        set_name="mt",
        blocks=(1,),
        inputs=("fc2",),
        parts=(range(2), range(2, 3)),
        dtype="float16",
        batch_tokens=128,
        most_bytes=3 * 2**20,
        quota_gib=1.0,
    )
    (cost,) = costs_of(tiny_plan, sizes_of(tiny_plan), [job])
    assert cost.disk_bytes == 3 * 2**20
    assert cost.fixed_bytes == SMALL_JOB_BYTES + 3 * 2 * 2 * 2**20
    one_pass = 3 / 4 * 2 * SET_TOKENS * N_WEIGHTS
    assert (cost.n_passes, cost.flops) == (2, 2 * one_pass), "an observed block runs twice"


def test_a_model_with_transposed_weights_has_the_same_cost(tmp_path_factory: pytest.TempPathFactory) -> None:
    inputs = write_inputs(tmp_path_factory.mktemp("gpt2"), family="gpt2")
    plan = plan_of(write_recipe(inputs, small_recipe()))
    _, cost = costs_by_class(plan, ObserveJob)[0]
    assert cost.flops == 2 * SET_TOKENS * N_WEIGHTS
    assert cost.disk_bytes == 4 * 4 * INPUT_FEATURES
