"""Out-of-memory handling: detect it in any library, name the levels of a retry, advise once retries are exhausted.

`Job.with_less_memory` defines the levels: half the batch size, then an offloaded model as well.
"""

import errno

import torch

from mlprune.errors import OutOfMemoryError
from mlprune.steps.job import AS_PLANNED, HALF_BATCHES, MIN_BATCH_TOKENS, OFFLOADED, Job, batch_tokens_of

MEMORY_LEVELS = {AS_PLANNED: "as planned", HALF_BATCHES: "half batches", OFFLOADED: "offloaded"}
"""`Job.memory_level` -> its name in run files and logs."""

ALLOCATOR_MESSAGES = (
    "can't allocate memory",
    "not enough memory",
    "cannot allocate memory",
    "out of memory",
    "bad_alloc",
)
"""Messages of native allocators inside errors of general types; lower case."""
LIBRARY_ERRORS = ("SafetensorError", "OutOfMemoryException")
"""Error types of safetensors and DuckDB that may report failed allocations and have no more specific base class."""


def is_out_of_memory(err: BaseException) -> bool:
    """Tell whether an error means that memory ran out.

    `torch.OutOfMemoryError` of an accelerator and torch's CPU allocator raise subclasses of RuntimeError, the operating
    system an OSError, Python, NumPy and Arrow subclasses of MemoryError.
    """
    if isinstance(err, OutOfMemoryError | MemoryError | torch.OutOfMemoryError):
        return True
    if isinstance(err, OSError) and err.errno is not None:
        return err.errno == errno.ENOMEM
    is_general = isinstance(err, RuntimeError | OSError) or type(err).__name__ in LIBRARY_ERRORS
    return is_general and any(message in str(err).lower() for message in ALLOCATOR_MESSAGES)


def advice(job: Job) -> str:
    """Advise what to change in the recipe when a job runs out of memory at every level."""
    n_tokens = batch_tokens_of(job)
    if n_tokens is None:
        return "in the recipe, use fewer replicas: compute: {replicas: 1}"
    if n_tokens <= MIN_BATCH_TOKENS:
        return "in the recipe, use more shards (compute: {shards: 2}) or fewer replicas"
    smaller = f"compute: {{batch_tokens: {max(MIN_BATCH_TOKENS, n_tokens // 2)}}}"
    return f"in the recipe, use smaller batches ({smaller}; {n_tokens} did not fit), more shards or fewer replicas"
