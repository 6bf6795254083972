"""Costs of the jobs of a plan together, and memory of the actors of a replica."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from heapq import heapreplace
from pathlib import Path
from typing import NamedTuple

from mlprune.models.placement.budget import (
    NO_DEVICES,
    DeviceBudget,
    DeviceMemory,
    DevicePlacement,
    MemoryBudget,
    place_parts,
    resident_blocks,
    smallest_budget,
)
from mlprune.models.placement.memory_estimate import GROUP_BYTES, PROCESS_BYTES, Footprint, footprint, shard_bytes
from mlprune.planning.plan import Plan
from mlprune.steps.demonstrate.writing import set_sizes
from mlprune.steps.job import SMALL_JOB_BYTES, Job, JobCost

THREADS_PER_GPU = 2
"""Threads that feed one accelerator: one prepares a batch while the other's batch is computed."""


class StepLoad(NamedTuple):
    """Floating-point operations of the jobs of one step."""

    total: float
    most: float
    """Of the largest job that is not shared."""


class WeightLocation(Enum):
    """Where the weights of a model are."""

    ACCELERATORS = 0
    MEMORY = 1
    """In main memory, except what fits on accelerators."""
    DISK = 2
    """On disk, except what fits on accelerators and in main memory."""


@dataclass(frozen=True)
class ActorGpus:
    """Accelerators of one actor."""

    n: float = 0.0
    """Number of accelerators, or the fraction of one."""
    memory_bytes: int = 0
    """Free memory of the smallest accelerator; 0 if it is unknown."""

    def budget(self, working_bytes: int) -> DeviceBudget:
        """The budget of the actor, for jobs with this working memory."""
        if not self.n:
            return NO_DEVICES
        is_shared = self.n < 1 and self.memory_bytes > 0
        fraction_bytes = int(self.n * self.memory_bytes) if is_shared else None
        return DeviceBudget(self.n, working_bytes, fraction_bytes)

    @property
    def n_devices(self) -> int:
        """Number of accelerators that the actor sees."""
        return math.ceil(self.n)

    def rooms(self, budget: DeviceBudget, sizes: Footprint) -> tuple[int, ...]:
        """Bytes for weights on each accelerator."""
        memory = DeviceMemory(self.memory_bytes, self.memory_bytes)
        weight_bytes = shard_bytes(sizes, range(len(sizes.blocks)))
        return budget.weight_rooms([memory] * self.n_devices, weight_bytes=weight_bytes)

    def threads(self, n_devices: int) -> int:
        """Threads that feed some of the accelerators."""
        return max(1, round(THREADS_PER_GPU * min(self.n, n_devices)))


@dataclass(frozen=True)
class ActorMemory:
    """Memory of the actors of a replica. Each actor has one shard."""

    sizes: Footprint
    spans: tuple[range, ...]
    location: WeightLocation
    model_threads: int
    """Pieces that run at the same time in jobs that run the model."""
    working_bytes: int
    """Main memory of the jobs."""
    accelerators: DeviceBudget
    placements: tuple[DevicePlacement, ...]

    @property
    def least_bytes(self) -> int:
        """Least main memory of each actor."""
        if self.location is WeightLocation.DISK:
            return max(map(self._smallest_budget, self.spans, self.placements))
        shards = zip(self.spans, self.placements, strict=True)
        in_memory = max(placed.host_bytes(self.sizes, span) for span, placed in shards)
        return PROCESS_BYTES + self.working_bytes + in_memory

    @property
    def device_blocks(self) -> int:
        """Number of blocks of the replica on accelerators."""
        return sum(placed.n_blocks for placed in self.placements)

    @property
    def device_weight_bytes(self) -> int:
        """Weights on the fullest accelerator of an actor."""
        return max(placed.fullest_bytes for placed in self.placements)

    def resident_blocks(self, memory_bytes: int) -> tuple[int, ...]:
        """Number of blocks of each shard that stay on accelerators or in main memory.

        Args:
            memory_bytes: main memory of each actor, at least `least_bytes`.
        """
        budget = MemoryBudget(memory_bytes, self.working_bytes)

        def resident(span: range, placed: DevicePlacement) -> int:
            rest = span[placed.n_blocks :]
            return placed.n_blocks + (resident_blocks(placed.left_over(self.sizes), rest, budget) if rest else 0)

        return tuple(map(resident, self.spans, self.placements))

    def _smallest_budget(self, span: range, placed: DevicePlacement) -> int:
        rest = span[placed.n_blocks :]
        if not rest:
            return PROCESS_BYTES + self.working_bytes + placed.host_bytes(self.sizes, span)
        return smallest_budget(placed.left_over(self.sizes), rest, working_bytes=self.working_bytes)


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
    return sum(_busiest(step, n_workers, of=lambda cost: cost.flops) for step in _by_step(costs).values())


def most_passes(costs: Iterable[JobCost], n_workers: int) -> float:
    """Passes over all weights of the busiest worker; every worker that shares a job reads all weights."""
    alone = (replace(cost, is_shared=False) for cost in costs)
    return sum(_busiest(step, n_workers, of=lambda cost: cost.n_passes) for step in _by_step(alone).values())


def plan_actor_memory(
    sizes: Footprint,
    spans: Sequence[range],
    location: WeightLocation,
    *,
    costs: Sequence[JobCost],
    threads: int,
    gpus: ActorGpus,
) -> ActorMemory | None:
    """Plan the memory of the actors of a replica; None if all weights should be on accelerators and do not fit.

    Args:
        sizes: of the model.
        spans: blocks of each shard.
        costs: of the jobs that run in these actors.
        threads: pieces of work that an actor can run at the same time.
    """
    if location is WeightLocation.ACCELERATORS:
        return next(_on_accelerators(sizes, spans, costs=costs, threads=threads, gpus=gpus), None)
    # blocks in main memory need more threads than accelerators
    has_host_blocks = gpus.n == 0 or gpus.memory_bytes > 0
    model_threads = threads if has_host_blocks else min(threads, gpus.threads(gpus.n_devices))
    group_bytes = GROUP_BYTES if location is WeightLocation.DISK else 0
    budget = gpus.budget(peak_device_bytes(costs, model_threads) + group_bytes)
    placements = tuple(place_parts(sizes, span, gpus.rooms(budget, sizes)) for span in spans)
    working = peak_bytes(costs, threads, model_threads=model_threads) + group_bytes
    return ActorMemory(sizes, tuple(spans), location, model_threads, working, budget, placements)


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


def _on_accelerators(
    sizes: Footprint, spans: Sequence[range], *, costs: Sequence[JobCost], threads: int, gpus: ActorGpus
) -> Iterator[ActorMemory]:
    """Yield the plans with all weights on accelerators: fewest accelerators first, then most threads."""
    for n_devices in range(1, gpus.n_devices + 1):
        for model_threads in range(min(threads, gpus.threads(n_devices)), min(threads, n_devices) - 1, -1):
            budget = gpus.budget(peak_device_bytes(costs, model_threads))
            rooms = gpus.rooms(budget, sizes)[:n_devices]
            placements = tuple(place_parts(sizes, span, rooms) for span in spans)
            if not any(placed.host_bytes(sizes, span) for span, placed in zip(spans, placements, strict=True)):
                working = peak_host_bytes(costs, threads, model_threads=model_threads)
                location = WeightLocation.ACCELERATORS
                yield ActorMemory(sizes, tuple(spans), location, model_threads, working, budget, placements)
