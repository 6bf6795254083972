"""Costs of the jobs of a plan together: their peak memory, and their makespan on several workers."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from mlprune.models.placement.memory_estimate import Footprint, footprint
from mlprune.plan.plan import Plan
from mlprune.steps.demonstrate.cost import set_sizes
from mlprune.steps.job import Job
from mlprune.steps.job_cost import SMALL_JOB_BYTES, JobCost


def costs_of(plan: Plan, sizes: Footprint, jobs: Iterable[Job]) -> list[JobCost]:
    """The cost of each given job.

    Args:
        sizes: of the recipe's model. Jobs that run another base model are counted with the sizes of that one.
    """
    sets = set_sizes(plan.jobs)
    other_sizes = {model: footprint(Path(model.path), model.dtype) for model in plan.models if model != plan.model}
    return [job.cost(other_sizes.get(job.chain_model or plan.model, sizes), sets) for job in jobs]


def peak_bytes(costs: Iterable[JobCost], n_threads: int) -> int:
    """The largest memory need among the jobs, in addition to the process and the weights."""
    return max((cost.memory_bytes(n_threads) for cost in costs), default=SMALL_JOB_BYTES)


def flops_of(cost: JobCost) -> float:
    """Floating-point operations of a job."""
    return cost.flops


def makespan(costs: Sequence[JobCost], n_workers: int, of: Callable[[JobCost], float] = flops_of) -> float:
    """The load of the busiest worker, summed over the steps: workers share the jobs of each step.

    Args:
        of: the load of a job.
    """
    by_step: dict[str, list[float]] = {}
    for cost in costs:
        by_step.setdefault(cost.step, []).append(of(cost))
    return sum(max(sum(loads) / n_workers, *loads) for loads in by_step.values())
