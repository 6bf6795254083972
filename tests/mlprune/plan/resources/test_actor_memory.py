"""Costs of the jobs of a plan together."""

from mlprune.plan import Plan
from mlprune.plan.resources.actor_memory import (
    costs_of,
    makespan,
    most_passes,
    peak_bytes,
    peak_device_bytes,
    peak_host_bytes,
)
from mlprune.steps.job import SMALL_JOB_BYTES, JobCost
from tests.mlprune.steps.job_costs import sizes_of


def test_every_job_of_a_plan_has_a_cost_in_the_order_of_the_jobs(method_plan: Plan) -> None:
    costs = costs_of(method_plan, sizes_of(method_plan), method_plan.jobs)
    assert [cost.step for cost in costs] == [job.step for job in method_plan.jobs]


def test_peak_memory_is_that_of_the_largest_job_which_depends_on_the_threads() -> None:
    steady, growing = JobCost("a", fixed_bytes=100), JobCost("b", fixed_bytes=40, thread_bytes=40)
    assert [peak_bytes((steady, growing), n) for n in (1, 2)] == [100, 120]
    assert peak_bytes((), 1) == SMALL_JOB_BYTES


def test_a_job_on_accelerators_needs_main_memory_for_the_rest_and_for_transfers() -> None:
    runs_model = JobCost(
        "a",
        fixed_bytes=100,
        thread_bytes=40,
        device_fixed_bytes=60,
        device_thread_bytes=30,
        transfer_bytes=5,
        runs_model=True,
    )
    assert (runs_model.memory_bytes(2), runs_model.device_bytes(2), runs_model.host_bytes(2)) == (180, 120, 65)
    without = JobCost("b", fixed_bytes=10, thread_bytes=10)
    assert peak_host_bytes((runs_model, without), 3, model_threads=2) == 65
    assert peak_host_bytes((runs_model, without), 8, model_threads=2) == 90
    assert peak_bytes((runs_model, without), 8, model_threads=1) == 140
    assert peak_device_bytes((runs_model, without), 2) == 120
    assert peak_device_bytes((without,), 2) == 0


def test_what_runs_with_the_model_is_on_the_accelerator(method_plan: Plan) -> None:
    costs = costs_of(method_plan, sizes_of(method_plan), method_plan.jobs)
    assert {cost.runs_model for cost in costs} == {True, False}
    for cost in costs:
        assert (cost.device_bytes(2) > 0) == cost.runs_model
        assert cost.device_bytes(2) <= cost.memory_bytes(2)
        assert cost.device_bytes(2) - cost.device_bytes(1) == (cost.thread_bytes if cost.runs_model else 0)


def test_workers_share_the_jobs_of_a_step_but_not_a_single_job() -> None:
    costs = [JobCost("observe", flops=4.0), JobCost("observe", flops=2.0), JobCost("evaluate", flops=3.0, n_passes=7.0)]
    assert [makespan(costs, n) for n in (1, 2, 3)] == [9.0, 7.0, 7.0]
    assert most_passes(costs, 1) == 7.0
    assert makespan([], 2) == 0


def test_a_shared_job_is_divided_but_every_worker_reads_all_weights_for_it() -> None:
    costs = [JobCost("sweep", flops=6.0, n_passes=1.0, is_shared=True), JobCost("sweep", flops=2.0, n_passes=1.0)]
    assert [makespan(costs, n) for n in (1, 2, 4, 8)] == [8.0, 4.0, 2.0, 2.0]
    assert [most_passes(costs, n) for n in (1, 2, 8)] == [2.0, 1.0, 1.0]


def test_the_jobs_that_workers_share_are_those_of_the_plan_that_say_so(method_plan: Plan) -> None:
    costs = costs_of(method_plan, sizes_of(method_plan), method_plan.jobs)
    assert [cost.is_shared for cost in costs] == [job.shares_replicas for job in method_plan.jobs]
    assert {cost.step for cost in costs if cost.is_shared} == {"observe", "sweep"}
