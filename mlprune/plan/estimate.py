"""Estimate the needs of a plan before anything runs: the pool, disk space, Ray's object store and time."""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from mlprune.models.checkpoint.weight_files import DTYPES, WeightFiles
from mlprune.models.families.records import FAMILIES
from mlprune.models.placement.budget import group_limit
from mlprune.models.placement.memory_estimate import Footprint, footprint
from mlprune.plan.job_costs import costs_of, makespan, most_passes
from mlprune.plan.node_capacity import Node
from mlprune.plan.plan import Plan
from mlprune.plan.pool import Pool
from mlprune.plan.pool_planning import plan_pool
from mlprune.recipe import ComputeConfig
from mlprune.steps.job import Job, ModelRef
from mlprune.steps.job_cost import JobCost
from mlprune.vocabulary import DtypeName

SHORTEST_ROW = 32
"""Assumed least tokens of a batch's row; it bounds the size of the batch's statistics."""
SAMPLE_BYTES = 2**26
"""Bytes of a weight file that are read to measure the speed of reading."""


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

    def pool(self, nodes: Sequence[Node]) -> Pool:
        """The pool for the jobs on some nodes; see `plan_pool` for the error."""
        return plan_pool(self.compute, self.sizes, nodes, costs=self.costs)

    def object_store_gib(self, pool: Pool) -> float:
        """Size of the hidden states and sums of statistics that travel between shard actors; 0 without shards.

        Weights, levels and masks do not travel, nor do the sums of a sweep.
        """
        if pool.n_shards == 1:
            return 0.0
        n_tokens = self.compute.planned_batch_tokens(self.model.device)
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
class Rates:
    """Speed of this machine."""

    flops: float
    """Floating-point operations per second of matrix products in one thread or on one accelerator."""
    read_bytes: float
    """Bytes per second from the weight files."""


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


def needs_of(plan: Plan, jobs: Sequence[Job]) -> Needs:
    """The needs of some jobs of a plan."""
    sizes = footprint(Path(plan.model.path), plan.model.dtype)
    return Needs(plan.recipe.compute, plan.model, sizes, tuple(costs_of(plan, sizes, jobs)))


def estimate_duration(needs: Needs, pool: Pool, rates: Rates) -> Duration:
    """Estimate the duration on a pool of machines that all have these rates.

    Shards work on different batches at the same time, except in a sweep, where each block waits for the one before it.
    """
    sweeps = [cost for cost in needs.costs if cost.step == "sweep"]
    pipelined = [cost for cost in needs.costs if cost.step != "sweep"]
    depth = min(pool.n_shards, pool.groups_in_flight)
    flops = makespan(sweeps, pool.n_workers) + makespan(pipelined, pool.n_workers) / depth
    n_passes = most_passes(needs.costs, pool.n_workers)
    n_read = sum(needs.sizes.blocks) * n_passes if pool.is_offloaded else 0.0
    return Duration(flops / (rates.flops * pool.parallel_products), n_read / rates.read_bytes)


def measure_rates(model: ModelRef, *, with_accelerator: bool = False) -> Rates:
    """Measure the rates of this machine with 50 ms of products and at most 64 MiB of a weight file."""
    files = WeightFiles(Path(model.path), FAMILIES[model.family])
    largest = max((Path(model.path) / name for name in files.file_names), key=lambda path: path.stat().st_size)
    return Rates(measure_matmul_rate(model.dtype, with_accelerator=with_accelerator), measure_read_rate(largest))


def measure_matmul_rate(dtype: DtypeName = "float32", *, with_accelerator: bool = False) -> float:
    """Measure the floating-point operations per second of one accelerator, if there is one, or of one thread."""
    device = "cuda" if with_accelerator and torch.cuda.is_available() else "cpu"
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        left = torch.ones(256, 1024, dtype=DTYPES[dtype], device=device)
        right = torch.ones(1024, 1024, dtype=DTYPES[dtype], device=device)
        float((left @ right)[0, 0])  # start libraries and raise clock rates
        n_products, started = 0, time.perf_counter()
        while time.perf_counter() - started < 0.05:
            float((left @ right)[0, 0])
            n_products += 1
        return n_products * 2.0 * 256 * 1024 * 1024 / (time.perf_counter() - started)
    finally:
        torch.set_num_threads(n_threads)


def measure_read_rate(path: Path) -> float:
    """Measure the bytes per second from the beginning of a file, after dropping it from the page cache."""
    started, n_bytes = time.perf_counter(), 0
    with path.open("rb", buffering=0) as stream:
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(stream.fileno(), 0, SAMPLE_BYTES, os.POSIX_FADV_DONTNEED)
        while n_bytes < SAMPLE_BYTES and (piece := stream.read(2**22)):
            n_bytes += len(piece)
    return n_bytes / max(time.perf_counter() - started, 1e-9)
