"""Costs of the jobs of a plan together: their peak memory, and their makespan on several workers."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
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

    def cost_of(job: Job) -> JobCost:
        cost = job.cost(other_sizes.get(job.chain_model or plan.model, sizes), sets)
        return replace(cost, is_shared=True) if job.shares_replicas else cost

    return [cost_of(job) for job in jobs]


def peak_bytes(costs: Iterable[JobCost], n_threads: int, *, model_threads: int | None = None) -> int:
    """The largest memory need among the jobs, in addition to the process and the weights.

    Args:
        model_threads: threads of jobs that run the model; by default as many as of the others.
    """
    n_model = n_threads if model_threads is None else model_threads
    needs = (cost.memory_bytes(n_model if cost.runs_model else n_threads) for cost in costs)
    return max(needs, default=SMALL_JOB_BYTES)


def peak_host_bytes(costs: Iterable[JobCost], n_threads: int, *, model_threads: int) -> int:
    """The largest need of main memory among the jobs of an actor whose blocks are all on accelerators.

    Args:
        n_threads: of jobs that do not run the model.
        model_threads: of jobs that run it.
    """
    needs = (cost.host_bytes(model_threads) if cost.runs_model else cost.memory_bytes(n_threads) for cost in costs)
    return max(needs, default=SMALL_JOB_BYTES)


def peak_device_bytes(costs: Iterable[JobCost], model_threads: int) -> int:
    """The largest memory need of the jobs on each accelerator, in addition to the weights."""
    return max((cost.device_bytes(model_threads) for cost in costs if cost.runs_model), default=0)


def makespan(costs: Sequence[JobCost], n_workers: int) -> float:
    """Floating-point operations of the busiest worker, summed over the steps.

    Workers divide the jobs of each step. A job that they share is divided, too, so the result is a lower bound: the
    parts are whole batches.
    """
    return _most_loaded(costs, n_workers, of=lambda cost: cost.flops, is_divided=lambda cost: cost.is_shared)


def most_passes(costs: Sequence[JobCost], n_workers: int) -> float:
    """Passes over all weights of the busiest worker; every worker that shares a job reads all weights."""
    return _most_loaded(costs, n_workers, of=lambda cost: cost.n_passes, is_divided=lambda _: False)


def _most_loaded(
    costs: Sequence[JobCost],
    n_workers: int,
    *,
    of: Callable[[JobCost], float],
    is_divided: Callable[[JobCost], bool],
) -> float:
    total: dict[str, float] = {}
    largest: dict[str, float] = {}
    for cost in costs:
        load = of(cost)
        total[cost.step] = total.get(cost.step, 0.0) + load
        largest[cost.step] = max(largest.get(cost.step, 0.0), 0.0 if is_divided(cost) else load)
    return sum(max(total[step] / n_workers, largest[step]) for step in total)
