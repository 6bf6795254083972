"""What a plan will need before anything is run: its pool, room in the store and in Ray's object store, and time."""

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
from mlprune.plan.job_costs import costs_of, makespan
from mlprune.plan.node_capacity import Node
from mlprune.plan.plan import Plan
from mlprune.plan.pool import Pool, plan_pool
from mlprune.recipe import ComputeConfig
from mlprune.steps.job import Job, ModelRef
from mlprune.steps.job_cost import JobCost
from mlprune.vocabulary import DtypeName

SHORTEST_ROW = 32
"""Tokens of a batch's rows at least, where the size of its statistics is estimated."""
SAMPLE_BYTES = 2**26
"""Of a weight file, to see how fast it is read."""


@dataclass(frozen=True)
class Needs:
    """What the jobs that are left take, whoever does them."""

    compute: ComputeConfig
    model: ModelRef
    sizes: Footprint
    costs: tuple[JobCost, ...]

    @property
    def disk_gib(self) -> float:
        """Room in the store, before compression."""
        return sum(cost.disk_bytes for cost in self.costs) / 2**30

    def pool(self, nodes: Sequence[Node]) -> Pool:
        """The pool that does them on some nodes; see `plan_pool` for the error."""
        return plan_pool(self.compute, self.sizes, nodes, costs=self.costs)

    def object_store_gib(self, pool: Pool) -> float:
        """Size of the batches that travel between shard actors, with their statistics; 0 without shards."""
        if pool.n_shards == 1:
            return 0.0
        n_tokens = self.compute.planned_batch_tokens
        n_rows = max(1, n_tokens // SHORTEST_ROW)
        states = n_tokens * self.sizes.hidden * self.sizes.itemsize
        statistics = 4 * n_rows * self.sizes.inputs * len(self.sizes.blocks)
        batches_per_group = pool.threads
        if pool.is_offloaded:
            limit = group_limit(self.sizes)
            batches_per_group = max(1, limit.n_bytes // (n_tokens * limit.per_token + n_rows * limit.per_row))
        n_batches = pool.n_workers * pool.groups_in_flight * batches_per_group
        return n_batches * (states + statistics) / 2**30


@dataclass(frozen=True)
class Rates:
    """What this machine does in a second."""

    flops: float
    """Of matrix products, by one piece of work."""
    read_bytes: float
    """Of the weight files."""


@dataclass(frozen=True)
class Duration:
    """How long the jobs that are left take, start-up and small work left out."""

    products_s: float
    reading_s: float
    """Reading weights that do not stay in memory; it goes on beside the products."""

    @property
    def total_s(self) -> float:
        """Wall-clock time."""
        return max(self.products_s, self.reading_s)


def needs_of(plan: Plan, jobs: Sequence[Job]) -> Needs:
    """What the given jobs of a plan take."""
    sizes = footprint(Path(plan.model.path), plan.model.dtype)
    return Needs(plan.recipe.compute, plan.model, sizes, tuple(costs_of(plan, sizes, jobs)))


def estimate_duration(needs: Needs, pool: Pool, rates: Rates) -> Duration:
    """How long they take on a pool of machines that all have these rates.

    Shards work on different batches at the same time, except in a sweep, whose blocks wait for each other.
    """
    sweeps = [cost for cost in needs.costs if cost.step == "sweep"]
    pipelined = [cost for cost in needs.costs if cost.step != "sweep"]
    depth = min(pool.n_shards, pool.groups_in_flight)
    flops = makespan(sweeps, pool.n_workers) + makespan(pipelined, pool.n_workers) / depth
    n_passes = makespan(needs.costs, pool.n_workers, of=lambda cost: cost.n_passes)
    n_read = sum(needs.sizes.blocks) * n_passes if pool.is_offloaded else 0.0
    return Duration(flops / (rates.flops * pool.threads), n_read / rates.read_bytes)


def measure_rates(model: ModelRef) -> Rates:
    """The rates of this machine, from 50 ms of products and, at most, 64 MiB of a weight file."""
    files = WeightFiles(Path(model.path), FAMILIES[model.family])
    largest = max((Path(model.path) / name for name in files.file_names), key=lambda path: path.stat().st_size)
    return Rates(measure_matmul_rate(model.dtype), measure_read_rate(largest))


def measure_matmul_rate(dtype: DtypeName = "float32") -> float:
    """Floating-point operations a second: of one accelerator if there is one, else of one thread."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        left = torch.ones(256, 1024, dtype=DTYPES[dtype], device=device)
        right = torch.ones(1024, 1024, dtype=DTYPES[dtype], device=device)
        float((left @ right)[0, 0])  # libraries and clocks wake up
        n_products, started = 0, time.perf_counter()
        while time.perf_counter() - started < 0.05:
            float((left @ right)[0, 0])
            n_products += 1
        return n_products * 2.0 * 256 * 1024 * 1024 / (time.perf_counter() - started)
    finally:
        torch.set_num_threads(n_threads)


def measure_read_rate(path: Path) -> float:
    """Bytes a second of the beginning of a file, which the system is asked to forget before."""
    started, n_bytes = time.perf_counter(), 0
    with path.open("rb", buffering=0) as stream:
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(stream.fileno(), 0, SAMPLE_BYTES, os.POSIX_FADV_DONTNEED)
        while n_bytes < SAMPLE_BYTES and (piece := stream.read(2**22)):
            n_bytes += len(piece)
    return n_bytes / max(time.perf_counter() - started, 1e-9)
