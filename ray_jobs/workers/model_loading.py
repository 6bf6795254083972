"""What an actor of a pool loads: a whole model or a shard of it, within the memory that the pool gives it."""

from contextlib import suppress
from pathlib import Path
from typing import Any

from mlprune.errors import MlpruneError
from mlprune.models.chain import Chain
from mlprune.models.local_chain import local_chain
from mlprune.models.placement.memory_estimate import GROUP_BYTES, PROCESS_BYTES, footprint, shard_bytes, smallest_budget
from mlprune.models.shard import Shard
from mlprune.plan.pool import Pool
from mlprune.steps.job import ModelRef


def load_here(model: ModelRef, pool: Pool, *, offloaded: bool = False) -> Chain:
    """The model as one shard in this process.

    Args:
        offloaded: hold half of it at most, where memory turned out to be short.
    """
    memory = budget(model, range(model.n_blocks), pool, offloaded=offloaded)
    return local_chain(Path(model.path), dtype=model.dtype, **memory)


def load_shard(model: ModelRef, span: range, pool: Pool, *, offloaded: bool = False) -> Shard:
    """Some blocks of the model in this process; see `load_here`."""
    memory = budget(model, span, pool, offloaded=offloaded)
    return Shard(Path(model.path), span, n_blocks=model.n_blocks, dtype=model.dtype, **memory)


def warm_up(model: ModelRef) -> None:
    """Import the model's code, which takes seconds, before the first job needs it.

    What is wrong with the model is for that job to say.
    """
    with suppress(MlpruneError):
        footprint(Path(model.path), model.dtype)


def budget(model: ModelRef, span: range, pool: Pool, *, offloaded: bool = False) -> dict[str, Any]:
    """`memory_bytes` and `working_bytes` of a shard, both None if it may hold all of its blocks."""
    if not offloaded:
        is_cut = pool.is_offloaded
        return {
            "memory_bytes": pool.memory_bytes if is_cut else None,
            "working_bytes": pool.working_bytes if is_cut else None,
        }
    sizes = footprint(Path(model.path), model.dtype)
    working = pool.working_bytes + (0 if pool.is_offloaded else GROUP_BYTES)
    half = PROCESS_BYTES + working + shard_bytes(sizes, span) // 2
    least = smallest_budget(sizes, span, working_bytes=working)
    return {"memory_bytes": max(least, min(half, pool.memory_bytes)), "working_bytes": working}
