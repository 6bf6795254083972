"""Plan the pool of a run, and estimate what a plan needs: disk space, memory and time.

`auto` takes as few shards as possible: first with all weights in the memory of the accelerators, then in main memory,
then with some blocks offloaded to disk. Replicas use the remaining resources as long as there are jobs for them.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from mlprune.errors import BadInputError
from mlprune.models.block_ranges import plan_spans
from mlprune.models.placement.budget import group_limit
from mlprune.models.placement.memory_estimate import PROCESS_BYTES, Footprint, footprint, gib_rounded_up
from mlprune.planning.plan import Plan
from mlprune.planning.resources.actor_memory import (
    ActorGpus,
    ActorMemory,
    StepLoad,
    WeightLocation,
    costs_of,
    makespan,
    most_passes,
    plan_actor_memory,
    step_loads,
)
from mlprune.planning.resources.node_capacity import (
    GIB,
    Actor,
    Coordinators,
    Node,
    Pool,
    accelerators_of,
    format_node,
    has_room,
    max_cpus,
    max_memory,
    n_gpu_shares,
)
from mlprune.planning.resources.rates import Rates
from mlprune.recipe import ComputeConfig
from mlprune.steps.evaluate.model_evaluation import EvaluateJob
from mlprune.steps.evaluate.results import adoptable_ids
from mlprune.steps.inputs import resolved_device
from mlprune.steps.job import Job, JobCost, ModelRef
from mlprune.steps.observe.dense_pass import COORDINATING_BYTES
from mlprune.store.store import Store

MAKESPAN_TOLERANCE = 1.1
"""Pools up to this much slower than the fastest count as equal; more replicas also share the small jobs."""


def plan_pool(compute: ComputeConfig, sizes: Footprint, nodes: Sequence[Node], *, costs: Sequence[JobCost]) -> Pool:
    """Plan the pool of a run.

    Args:
        compute: from the recipe.
        sizes: of the recipe's model.
        nodes: resources of all nodes.
        costs: of all jobs.
    Raises:
        BadInputError: no pool fits; the message has a line for the recipe with which one would.
    """
    planning = _Planning(compute, sizes, tuple(nodes), tuple(costs))
    pool = planning.pool()
    if pool is None:
        raise _refusal(planning)
    return pool


@dataclass(frozen=True)
class _Planning:
    """The search for a pool."""

    compute: ComputeConfig
    sizes: Footprint
    all_nodes: tuple[Node, ...]
    costs: tuple[JobCost, ...]
    _memory: dict[tuple[int, int, WeightLocation], ActorMemory | None] = field(default_factory=dict, init=False)
    """Shards, threads, location -> memory of the actors that were planned."""

    @cached_property
    def n_gpus(self) -> float:
        """Accelerators of an actor."""
        if self.compute.gpus_per_actor != "auto":
            return self.compute.gpus_per_actor
        return 1.0 if resolved_device(self.compute, accelerators_of(self.all_nodes)) == "cuda" else 0.0

    @cached_property
    def nodes(self) -> tuple[Node, ...]:
        """Nodes that can run an actor; a head node without CPUs cannot."""
        return tuple(node for node in self.all_nodes if node.n_cpus > 0 and node.n_gpus >= min(self.n_gpus, 1))

    @property
    def shard_counts(self) -> range:
        """Possible numbers of shards, fewest first."""
        given, most = self.compute.shards, len(self.sizes.blocks)
        return range(1, most + 1) if given == "auto" else range(given, given + 1)

    def pool(self) -> Pool | None:
        """The first pool that fits, or None. Among nearly equal pools, the one with the most replicas."""
        for location in WeightLocation:
            for n_shards in self.shard_counts:
                pools = list(self._pools(n_shards, location))
                if pools:
                    limit = min(map(self._makespan, pools)) * MAKESPAN_TOLERANCE
                    return next(pool for pool in pools if self._makespan(pool) <= limit)
        return None

    def _makespan(self, pool: Pool) -> float:
        """Floating-point operations of the busiest accelerator or thread."""
        return sum(max(total / pool.n_workers, most) for total, most in self._loads) / pool.parallel_products

    @cached_property
    def _loads(self) -> tuple[StepLoad, ...]:
        """Floating-point operations of each step."""
        return step_loads(self.costs)

    def _pools(self, n_shards: int, location: WeightLocation) -> Iterator[Pool]:
        """Pools that fit, one per number of replicas, most replicas first."""
        given = self.compute.replicas
        counts = range(self._most_replicas(n_shards, location), 0, -1) if given == "auto" else (given,)
        for n_workers in counts:
            n_cpus = max_cpus(self.nodes, n_workers * n_shards)
            for threads in range(max(1, int(n_cpus)), 0, -1) if n_cpus else ():
                pool = self._sized(n_workers, n_shards, min(n_cpus, float(threads)), location=location)
                if pool is not None:
                    yield pool
                    break

    def _most_replicas(self, n_shards: int, location: WeightLocation) -> int:
        """As many as accelerators or CPUs allow; for an offloaded model, one per node."""
        if self.n_gpus:
            n_actors = n_gpu_shares(self.nodes, self.n_gpus)
        elif location is WeightLocation.DISK:
            n_actors = len(self.nodes)
        else:
            n_actors = int(sum(node.n_cpus for node in self.nodes))
        return max(1, n_actors // n_shards)

    def _sized(self, n_workers: int, n_shards: int, n_cpus: float, *, location: WeightLocation) -> Pool | None:
        """A pool with the memory that the recipe sets, that it needs, or that is free; None if it does not fit."""
        threads, n_actors = max(1, int(n_cpus)), n_workers * n_shards
        plan = self._actor_memory(n_shards, threads, location=location)
        if plan is None:
            return None
        least, coordinator_bytes = plan.least_bytes, self.coordinator_bytes(n_shards)
        coordinators = Coordinators(n_workers, coordinator_bytes)
        memory = least
        if self.compute.memory_gib_per_actor != "auto":
            memory = int(self.compute.memory_gib_per_actor * GIB)
        elif location is WeightLocation.DISK:
            memory = max_memory(self.nodes, Actor(n_cpus, self.n_gpus, 0), n_actors, coordinators)
        actor = Actor(n_cpus, self.n_gpus, memory)
        if memory < least or not has_room(self.nodes, actor, n_actors, coordinators):
            return None
        return Pool(
            n_workers,
            n_shards,
            n_cpus,
            self.n_gpus,
            threads=threads,
            model_threads=plan.model_threads,
            memory_bytes=memory,
            working_bytes=plan.working_bytes,
            coordinator_bytes=coordinator_bytes,
            resident=plan.resident_blocks(memory),
            n_blocks=len(self.sizes.blocks),
            device_blocks=plan.device_blocks,
            device_weight_bytes=plan.device_weight_bytes,
            accelerators=plan.accelerators,
            node_labels=self.compute.node_labels,
        )

    def smallest_bytes(self) -> int:
        """Least memory of an actor with one thread, over all locations of the weights."""
        plans = (self._actor_memory(n, 1, location=location) for n in self.shard_counts for location in WeightLocation)
        return min(plan.least_bytes for plan in plans if plan is not None)

    def coordinator_bytes(self, n_shards: int) -> int:
        """Memory of a worker that coordinates shards in other actors; 0 if there is one shard."""
        return 0 if n_shards == 1 else PROCESS_BYTES + COORDINATING_BYTES

    def _actor_memory(self, n_shards: int, threads: int, *, location: WeightLocation) -> ActorMemory | None:
        """The memory of the actors with weights, which also run the jobs that do not run the model."""
        key = (n_shards, threads, location)
        if key not in self._memory:
            spans = plan_spans(len(self.sizes.blocks), n_shards)
            gpus = ActorGpus(self.n_gpus, min((node.gpu_bytes for node in self.nodes), default=0) if self.n_gpus else 0)
            self._memory[key] = plan_actor_memory(
                self.sizes, spans, location, costs=self.costs, threads=threads, gpus=gpus
            )
        return self._memory[key]


def _refusal(planning: _Planning) -> BadInputError:
    """The error for a recipe without a pool, with a changed line of the recipe that has one."""
    needed = gib_rounded_up(planning.smallest_bytes(), digits=1)
    changes: list[dict[str, object]] = [{"memory_gib_per_actor": needed}, {"memory_gib_per_actor": "auto"}]
    changes += [{"gpus_per_actor": "auto"}, {"replicas": 1}, {"shards": "auto"}, {"replicas": 1, "shards": "auto"}]
    changes.append({"device": "cpu", "gpus_per_actor": "auto"})
    changes.append(dict.fromkeys(("replicas", "shards", "memory_gib_per_actor", "gpus_per_actor"), "auto"))
    candidates = (planning.compute.model_copy(update=change) for change in changes)
    fitting = next((compute for compute in candidates if replace(planning, compute=compute).pool()), None)
    counts = Counter(planning.all_nodes)
    nodes = " + ".join(f"{n} x ({format_node(node)})" for node, n in counts.items()) or "no node"
    return BadInputError(
        "the model does not fit on the available machines",
        expected=recipe_line(fitting) if fitting else f"a machine with {needed} GiB of free memory for an actor",
        got=f"{recipe_line(planning.compute)} on {nodes}; an actor needs at least {needed} GiB",
    )


def recipe_line(compute: ComputeConfig) -> str:
    """The section `compute` as one line of a recipe, without the keys at their default."""
    keys = compute.model_dump(exclude_defaults=True)
    return f"compute: {{{', '.join(f'{key}: {value}' for key, value in keys.items())}}}"


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
        rest = [job.without(adopted) if isinstance(job, EvaluateJob) else job for job in jobs]
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
    planned = (evaluation for job in jobs if isinstance(job, EvaluateJob) for evaluation in job.evaluations)
    return adoptable_ids(planned, store)


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


def busiest_flops(needs: Needs, pool: Pool) -> float:
    """Floating-point operations that the busiest replica computes one after another."""
    sweeps = [cost for cost in needs.costs if cost.step == "sweep"]
    pipelined = [cost for cost in needs.costs if cost.step != "sweep"]
    depth = min(pool.n_shards, pool.groups_in_flight)
    return makespan(sweeps, pool.n_workers) + makespan(pipelined, pool.n_workers) / depth
