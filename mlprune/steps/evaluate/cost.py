"""Costs of the jobs that run a model on tasks."""

from collections.abc import Iterable
from typing import NamedTuple

from mlprune.evaluation.scoring.candidates import PreparedTask
from mlprune.evaluation.scoring.translation import PreparedTranslation
from mlprune.models.placement.memory_estimate import Footprint
from mlprune.numeric.inference.log_probs import MAX_LOGITS, max_logits_of
from mlprune.pruning.mask_files import CACHED_BYTES
from mlprune.steps.job_cost import SMALL_JOB_BYTES, JobCost, batch_bytes, block_flops, n_block_weights
from mlprune.vocabulary import DeviceName

MASK_BYTES = 2
"""Bytes per weight of the masks of one block while they are applied."""
WEIGHTS_PER_BYTE = 8
"""Weights per byte of the masks that stay in main memory while a variant is applied."""
LOGIT_BYTES = 4 + 4
"""Bytes per logit as float32 and as log-probability, in addition to the model's dtype."""


class _TaskSize(NamedTuple):
    n_tokens: int
    """Tokens that run through the model, padding included."""
    n_passes: float
    n_logit_rows: int
    """Most rows of logits in memory at once."""


def tasks_cost(
    step: str,
    sizes: Footprint,
    tasks: Iterable[PreparedTask | PreparedTranslation],
    *,
    batch_tokens: int,
    device: DeviceName,
    disk_bytes: float,
) -> JobCost:
    """Cost of scoring or translating some tasks on a kind of device."""
    flops = n_passes = n_tokens = 0.0
    n_logits = min(max_logits_of(device), max(MAX_LOGITS, batch_tokens * sizes.vocabulary))
    for size in map(_task_size, tasks):
        flops += block_flops(sizes, size.n_tokens) + 2.0 * size.n_tokens * sizes.hidden * sizes.vocabulary
        n_passes += size.n_passes
        n_tokens += size.n_tokens
        n_logits = max(n_logits, size.n_logit_rows * sizes.vocabulary)
    cache_bytes = 2 * batch_tokens * sizes.hidden * len(sizes.blocks) * sizes.itemsize
    mask_bytes = sum(sizes.prunable) * MASK_BYTES
    running_bytes = batch_bytes(sizes, batch_tokens) + cache_bytes + n_logits * (LOGIT_BYTES + sizes.itemsize)
    return JobCost(
        step,
        flops=flops,
        n_passes=n_passes + 1 if n_passes else 0.0,
        fixed_bytes=SMALL_JOB_BYTES + mask_bytes + _kept_bytes(sizes),
        thread_bytes=running_bytes,
        device_fixed_bytes=mask_bytes,
        device_thread_bytes=running_bytes,
        transfer_bytes=mask_bytes,
        disk_bytes=disk_bytes,
        n_tokens=n_tokens,
        runs_model=True,
    )


def _kept_bytes(sizes: Footprint) -> int:
    """Upper bound of the main memory that a process keeps after a swap: the masks, and the cache of packed levels."""
    n_weights = n_block_weights(sizes)
    return n_weights // WEIGHTS_PER_BYTE + min(CACHED_BYTES, n_weights)


def _task_size(prepared: PreparedTask | PreparedTranslation) -> _TaskSize:
    if isinstance(prepared, PreparedTask):
        return _TaskSize(sum(planned.batch.n_computed for planned in prepared.batches), 1.0, 0)
    return _TaskSize(
        sum(len(ids) + prepared.max_new_tokens for ids in prepared.token_ids),
        float(prepared.max_new_tokens * len(prepared.batches)),
        max((len(batch) for batch in prepared.batches), default=0),
    )
