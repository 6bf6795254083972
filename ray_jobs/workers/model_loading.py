"""Load a model, or one shard of it, within the memory that the pool gives to an actor."""

from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from mlprune.errors import MlpruneError
from mlprune.models import shard_loader
from mlprune.models.chain import Chain
from mlprune.models.local_chain import local_chain
from mlprune.models.placement.budget import MemoryBudget, smallest_budget
from mlprune.models.placement.device_budget import DeviceBudget
from mlprune.models.placement.memory_estimate import GROUP_BYTES, PROCESS_BYTES, footprint, shard_bytes
from mlprune.models.shard import Shard
from mlprune.numeric.masks.packed_levels import PackedLevels
from mlprune.numeric.masks.packed_masks import write_masked
from mlprune.numeric.selection.matrix import select_in_matrix
from mlprune.numeric.selection.rows import select_in_rows
from mlprune.numeric.weights.scores import wanda_scores
from mlprune.plan.pool import Pool
from mlprune.steps.job import HALF_MODEL, WHOLE_MODEL, ModelRef

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
    """Let float32 products on accelerators use TF32 in this process, or not."""
    if (torch.backends.cuda.matmul.fp32_precision == "tf32") != model.tf32:
        torch.backends.cuda.matmul.fp32_precision = "tf32" if model.tf32 else "ieee"


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
