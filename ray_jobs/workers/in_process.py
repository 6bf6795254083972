"""Workers in this process, without Ray (`--address none`), and the loading of models."""

import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from mlprune.errors import MlpruneError
from mlprune.models import local_chain as shard_loader
from mlprune.models.chain import Chain
from mlprune.models.local_chain import local_chain
from mlprune.models.placement.budget import DeviceBudget, MemoryBudget, smallest_budget
from mlprune.models.placement.memory_estimate import GROUP_BYTES, PROCESS_BYTES, footprint, shard_bytes
from mlprune.models.shard import Shard
from mlprune.numeric.masks.packed_masks import PackedLevels, write_masked
from mlprune.numeric.selection.matrix import select_in_matrix
from mlprune.numeric.selection.rows import select_in_rows
from mlprune.numeric.weights.scores import wanda_scores
from mlprune.planning.resources.node_capacity import Pool
from mlprune.processes.job_parts import RunningParts
from mlprune.steps.job import HALF_MODEL, WHOLE_MODEL, Job, ModelRef
from ray_jobs.workers.pool_interface import PoolChange
from ray_jobs.workers.recovery import WorkerHealth
from ray_jobs.workers.worker import Outcome, Worker, worker_name

OFFLOADED_SHARE = 0.5
"""Share of the weights on accelerators that stays there at the next offload level."""


def load_model(model: ModelRef, pool: Pool, *, offload_level: int = WHOLE_MODEL) -> Chain:
    """Load a model as one shard in this process.

    Args:
        offload_level: how much of the weights stays in memory, after a job ran out of it; see `Job.offload_level`.
    """
    set_product_precision(model)
    memory = budget(model, range(model.n_blocks), pool, offload_level=offload_level)
    accelerators = device_budget(pool, offload_level=offload_level)
    return local_chain(Path(model.path), dtype=model.dtype, budget=memory, accelerators=accelerators)


def load_shard(model: ModelRef, span: range, pool: Pool, *, offload_level: int = WHOLE_MODEL) -> Shard:
    """Load some blocks of a model in this process; see `load_model`."""
    set_product_precision(model)
    return shard_loader.load_shard(
        Path(model.path),
        span,
        n_blocks=model.n_blocks,
        dtype=model.dtype,
        budget=budget(model, span, pool, offload_level=offload_level),
        accelerators=device_budget(pool, offload_level=offload_level),
    )


def set_product_precision(model: ModelRef) -> None:
    """Let float32 products on accelerators use TF32 in this process, or not; sums of half precision stay float32.

    By default, a product in half precision that is divided into parts may add the parts in half precision.
    """
    products = torch.backends.cuda.matmul
    products.allow_bf16_reduced_precision_reduction = products.allow_fp16_reduced_precision_reduction = False
    if (products.fp32_precision == "tf32") != model.tf32:
        products.fp32_precision = "tf32" if model.tf32 else "ieee"


def warm_up(model: ModelRef) -> None:
    """Import the model's code and load the compiled kernels, which takes seconds, before the first job needs them.

    Errors of the model are ignored here; the first job reports them.
    """
    with suppress(MlpruneError):
        footprint(Path(model.path), model.dtype)
    _load_kernels()


def _load_kernels() -> None:
    """Prune a tiny weight: numba loads the machine code of a kernel at its first call."""
    weight = torch.ones(2, 64)
    scores = wanda_scores(weight, torch.ones(64))
    for levels in (
        select_in_rows(scores.numpy(), np.array([[32]])),
        select_in_matrix(scores.numpy(), np.array([64])),
    ):
        write_masked(weight, weight, PackedLevels.pack(torch.from_numpy(levels), 1).kept(0))


def device_budget(pool: Pool, *, offload_level: int = WHOLE_MODEL) -> DeviceBudget:
    """Budget of the accelerators of an actor: each offload level halves the weights on them."""
    return replace(pool.accelerators, device_share=OFFLOADED_SHARE**offload_level)


def budget(model: ModelRef, span: range, pool: Pool, *, offload_level: int = WHOLE_MODEL) -> MemoryBudget | None:
    """Memory budget of a shard; None if all of its blocks may stay in memory."""
    if offload_level == WHOLE_MODEL:
        return pool.budget if pool.is_offloaded else None
    sizes = footprint(Path(model.path), model.dtype)
    working = pool.working_bytes + pool.accelerators.working_bytes + (0 if pool.is_offloaded else GROUP_BYTES)
    least = smallest_budget(sizes, span, working_bytes=working)
    half = PROCESS_BYTES + working + shard_bytes(sizes, span) // 2
    wanted = half if offload_level == HALF_MODEL else least
    return MemoryBudget(max(least, min(wanted, pool.memory_bytes)), working)


class InProcessWorkers:
    """A pool of one worker, in the driver's process.

    A busy accelerator is tried again. One that stopped working cannot be used by this process any more.

    Args:
        store_uri: the store.
        model: the base model.
        pool: resources of this process.
    """

    def __init__(self, store_uri: str, model: ModelRef, pool: Pool) -> None:
        def load(other: ModelRef | None, *, offload_level: int) -> Chain:
            return load_model(other or model, pool, offload_level=offload_level)

        self._worker = Worker(
            store_uri, load, name=worker_name(0), threads=pool.threads, model_threads=pool.model_threads
        )
        self._health = WorkerHealth(1)
        self._finished: list[tuple[Job, Outcome]] = []

    @property
    def problem(self) -> str | None:
        """Why this process can run no further job; None if it can."""
        return self._health.problem

    def free(self) -> int:
        """Return 1, or 0 until the last job's outcome is collected or if no further job can be run.

        After the accelerator had no room, this waits until it is time to try again.
        """
        pause_s = self._health.seconds_to_next()
        if pause_s is not None:
            time.sleep(pause_s)
            self._health.due()
        return 0 if self.problem else 1 - len(self._finished)

    def size(self, job: Job) -> int:
        """Return 1: one job runs at a time."""
        return 1

    def spare(self, n_jobs: int) -> int:
        """Return 0: no other worker can share a job."""
        return 0

    def submit(self, job: Job, *, n_helpers: int = 0) -> None:
        """Run the job; returns when it has finished."""
        outcome = self._worker.run(job)
        self._finished.append((job, outcome))
        if outcome.failure is None or outcome.failure.worker_fault is None:
            self._health.succeeded(0)
        else:
            is_broken = outcome.failure.worker_fault != "busy device"
            self._health.failed(0, outcome.failure, is_final=is_broken)

    def share(self, jobs: Iterable[Job]) -> None:
        """Do nothing: no other worker can share a job."""

    def recall(self, n_jobs: int) -> None:
        """Do nothing: no worker shares a job."""

    def wait(self, timeout_s: float | None = None) -> list[tuple[Job, Outcome]]:
        """Return the finished job without waiting."""
        finished, self._finished = self._finished, []
        return finished

    def take_changes(self) -> list[PoolChange]:
        """Return nothing: this process is the only worker."""
        return []

    @property
    def running_parts(self) -> RunningParts:
        """See `Workers.running_parts`."""
        return self._worker.running_parts

    def close(self) -> None:
        """Do nothing: this pool has only the process of the driver."""
