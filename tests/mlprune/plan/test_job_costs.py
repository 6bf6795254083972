"""Costs of the jobs of a plan together."""

from mlprune.plan import Plan
from mlprune.plan.job_costs import costs_of, makespan, peak_bytes
from mlprune.steps.job_cost import SMALL_JOB_BYTES, JobCost
from tests.mlprune.steps.job_costs import sizes_of


def test_every_job_of_a_plan_has_a_cost_in_the_order_of_the_jobs(method_plan: Plan) -> None:
    costs = costs_of(method_plan, sizes_of(method_plan), method_plan.jobs)
    assert [cost.step for cost in costs] == [job.step for job in method_plan.jobs]


def test_peak_memory_is_that_of_the_largest_job_which_depends_on_the_threads() -> None:
    steady, growing = JobCost("a", fixed_bytes=100), JobCost("b", fixed_bytes=40, thread_bytes=40)
    assert [peak_bytes((steady, growing), n) for n in (1, 2)] == [100, 120]
    assert peak_bytes((), 1) == SMALL_JOB_BYTES


def test_workers_share_the_jobs_of_a_step_but_not_a_single_job() -> None:
    costs = [JobCost("observe", flops=4.0), JobCost("observe", flops=2.0), JobCost("evaluate", flops=3.0, n_passes=7.0)]
    assert [makespan(costs, n) for n in (1, 2, 3)] == [9.0, 7.0, 7.0]
    assert makespan(costs, 1, of=lambda cost: cost.n_passes) == 7.0
    assert makespan([], 2) == 0
