"""Estimate what the jobs of a plan need: disk space, memory and time."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from mlprune.models.placement.budget import group_limit
from mlprune.models.placement.memory_estimate import Footprint, footprint
from mlprune.planning.plan import Plan
from mlprune.planning.resources.actor_memory import (
    costs_of,
    makespan,
    most_passes,
)
from mlprune.planning.resources.node_capacity import (
    Node,
    Pool,
)
from mlprune.planning.resources.rates import Rates
from mlprune.planning.resources.worker_pool import plan_pool
from mlprune.recipe.models import ComputeConfig
from mlprune.steps.evaluate.model_evaluation import evaluations_in, without_evaluations
from mlprune.steps.evaluate.results import adoptable_ids
from mlprune.steps.job import Job, JobCost, ModelRef
from mlprune.steps.trials_cost import TrialsCost, total_seconds
from mlprune.store.store import Store

SHORTEST_ROW = 32
"""Assumed least tokens of a batch's row; it bounds the size of the batch's statistics."""


@dataclass(frozen=True)
class Needs:
    """Needs of the pending jobs."""

    compute: ComputeConfig
    model: ModelRef
    sizes: Footprint
    costs: tuple[JobCost, ...]

    @property
    def disk_gib(self) -> float:
        """Disk space in the store, before compression."""
        return sum(cost.disk_bytes for cost in self.costs) / 2**30

    @property
    def batch_tokens(self) -> int:
        """Tokens of a batch, as planned."""
        return self.model.batch_tokens(self.compute)

    def pool(self, nodes: Sequence[Node]) -> Pool:
        """The pool for the jobs on some nodes; see `plan_pool` for the error."""
        return plan_pool(self.compute, self.sizes, nodes, costs=self.costs)

    def forwarded_gib(self, pool: Pool) -> float:
        """Bytes that travel between the actors of replicas over the whole run: hidden states and results of blocks."""
        return sum(cost.forwarded_bytes(self.sizes, pool.n_shards) for cost in self.costs) / 2**30

    def object_store_gib(self, pool: Pool) -> float:
        """Size of the hidden states and sums of statistics that travel between shard actors; 0 without shards.

        Weights, levels and masks do not travel, nor do the sums of a sweep.
        """
        if pool.n_shards == 1:
            return 0.0
        n_tokens = self.batch_tokens
        n_rows = max(1, n_tokens // SHORTEST_ROW)
        states = n_tokens * self.sizes.hidden * self.sizes.itemsize
        observes = any(cost.step == "observe" for cost in self.costs)
        statistics = 4 * n_rows * self.sizes.inputs * len(self.sizes.blocks) if observes else 0
        batches_per_group = pool.model_threads
        if pool.is_offloaded:
            limit = group_limit(self.sizes)
            batches_per_group = max(1, limit.n_bytes // (n_tokens * limit.per_token + n_rows * limit.per_row))
        n_batches = pool.n_workers * pool.groups_in_flight * batches_per_group
        return n_batches * (states + statistics) / 2**30


@dataclass(frozen=True)
class Duration:
    """Duration of the pending jobs, without start-up and small jobs."""

    products_s: float
    reading_s: float
    """Time to read weights that do not stay in memory, in parallel with the products."""

    @property
    def total_s(self) -> float:
        """Wall-clock time."""
        return max(self.products_s, self.reading_s)

    def cpu_hours(self, pool: Pool) -> float:
        """Hours of the pool's CPUs, busy or not."""
        return pool.n_actors * pool.n_cpus * self.total_s / 3600

    def gpu_hours(self, pool: Pool) -> float:
        """Hours of the pool's accelerators, busy or not."""
        return pool.n_actors * pool.n_gpus * self.total_s / 3600


def needs_of(plan: Plan, jobs: Sequence[Job], *, adopted: Collection[str] = ()) -> Needs:
    """The needs of some jobs of a plan.

    Args:
        adopted: ids of evaluations that run no model, because an earlier version has their predictions: they take
            disk space, but neither time nor the memory of running the model.
    """
    sizes = footprint(Path(plan.model.path), plan.model.dtype)
    costs = costs_of(plan, sizes, jobs)
    if adopted:
        rest = [without_evaluations(job, adopted) for job in jobs]
        of_rest = costs_of(plan, sizes, rest)
        costs = [
            replace(other if job.makes else JobCost.small(cost.step), disk_bytes=cost.disk_bytes)
            for cost, other, job in zip(costs, of_rest, rest, strict=True)
        ]
    return Needs(plan.recipe.compute, plan.model, sizes, tuple(costs))


def mean_flops(costs: Iterable[JobCost]) -> dict[str, float]:
    """Return step -> floating-point operations of one of its jobs, on average; steps without any are missing."""
    of_steps: dict[str, list[float]] = {}
    for cost in costs:
        of_steps.setdefault(cost.step, []).append(cost.flops)
    return {step: sum(flops) / len(flops) for step, flops in of_steps.items() if any(flops)}


def adopted_evaluations(jobs: Iterable[Job], store: Store) -> frozenset[str]:
    """The ids of the evaluations of some jobs that take their predictions from an earlier version in a store."""
    return adoptable_ids(evaluations_in(jobs), store)


def estimate_duration(needs: Needs, pool: Pool, rates: Rates) -> Duration | None:
    """Estimate the duration on a pool of machines that all have these rates; None if a rate is unknown.

    Shards work on different batches at the same time, except in a sweep, where each block waits for the one before it.
    Blocks that are not on accelerators run on the CPU. In every pass over the blocks, an accelerator reads its weights
    once.
    """
    if pool.device_blocks and rates.gpu is None:
        return None
    n_flops = busiest_flops(needs, pool)
    n_passes = most_passes(needs.costs, pool.n_workers)
    on_device = pool.device_blocks / pool.n_blocks
    products_s = (1 - on_device) * n_flops / (rates.thread_flops * pool.threads)
    if rates.gpu is not None and pool.device_blocks:
        products_s += on_device * n_flops / (rates.gpu.flops * pool.n_gpus)
        if rates.gpu.weight_bytes:
            n_read = n_passes * on_device * sum(needs.sizes.blocks)
            products_s += n_read / (rates.gpu.weight_bytes * min(1.0, pool.n_gpus))
    n_from_files = sum(needs.sizes.blocks) * n_passes if pool.is_offloaded else 0.0
    if pool.streams_experts:  # every batch reads them
        in_experts = sum(needs.sizes.blocks) - sum(needs.sizes.without_experts)
        n_batches = sum(cost.n_tokens for cost in needs.costs) / needs.batch_tokens / pool.n_workers
        n_from_files += in_experts * max(0.0, n_batches - n_passes)
    return Duration(products_s, n_from_files / rates.file_bytes)


def trials_seconds(trials: TrialsCost, needs: Needs, *, pool: Pool, rates: Rates) -> float | None:
    """Estimate the duration of trials: batch after batch, with the dense model in the first one.

    The trials of a batch run at the same time, as far as there are workers.

    Returns: None if a rate is unknown.
    """

    @cache
    def batch_seconds(n_trials: int, n_made: int) -> float | None:
        sweeps = trials.sweeps
        made = [sweeps[index % len(sweeps)] for index in range(n_made)] if sweeps else []
        costs = (*made, *[trials.trial] * n_trials)
        duration = estimate_duration(replace(needs, costs=costs), pool, rates)
        return None if duration is None else duration.total_s

    sizes = enumerate(trials.batches)
    return total_seconds([batch_seconds(size + trials.n_dense * (index == 0), size) for index, size in sizes])


def busiest_flops(needs: Needs, pool: Pool) -> float:
    """Floating-point operations that the busiest replica computes one after another."""
    sweeps = [cost for cost in needs.costs if cost.step == "sweep"]
    pipelined = [cost for cost in needs.costs if cost.step != "sweep"]
    depth = min(pool.n_shards, pool.groups_in_flight)
    return makespan(sweeps, pool.n_workers) + makespan(pipelined, pool.n_workers) / depth
