"""Costs of the jobs of a plan together: their peak memory, and their makespan on several workers."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from heapq import heapreplace
from pathlib import Path
from typing import NamedTuple

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


class StepLoad(NamedTuple):
    """Floating-point operations of the jobs of one step."""

    total: float
    most: float
    """Of the largest job that is not shared."""


def step_loads(costs: Iterable[JobCost]) -> tuple[StepLoad, ...]:
    """The load of each step."""
    steps = _by_step(costs).values()
    return tuple(
        StepLoad(sum(cost.flops for cost in step), max(0.0 if cost.is_shared else cost.flops for cost in step))
        for step in steps
    )


def makespan(costs: Iterable[JobCost], n_workers: int) -> float:
    """Floating-point operations of the busiest worker, summed over the steps.

    Workers take the jobs of each step, the largest first. A job that they share is divided, so the result is a lower
    bound: the parts are whole batches.
    """
    return sum(_busiest(step, n_workers, of=_flops) for step in _by_step(costs).values())


def most_passes(costs: Iterable[JobCost], n_workers: int) -> float:
    """Passes over all weights of the busiest worker; every worker that shares a job reads all weights."""
    alone = (replace(cost, is_shared=False) for cost in costs)
    return sum(_busiest(step, n_workers, of=_passes) for step in _by_step(alone).values())


def _by_step(costs: Iterable[JobCost]) -> dict[str, list[JobCost]]:
    """The costs of each step."""
    steps: dict[str, list[JobCost]] = {}
    for cost in costs:
        steps.setdefault(cost.step, []).append(cost)
    return steps


def _busiest(costs: Sequence[JobCost], n_workers: int, *, of: Callable[[JobCost], float]) -> float:
    """The load of the busiest of some workers, each of which takes the next job when it is free."""
    workers = [0.0] * n_workers
    for load in sorted((of(cost) for cost in costs if not cost.is_shared), reverse=True):
        heapreplace(workers, workers[0] + load)
    return max(sum(map(of, costs)) / n_workers, *workers)


def _flops(cost: JobCost) -> float:
    return cost.flops


def _passes(cost: JobCost) -> float:
    return cost.n_passes
