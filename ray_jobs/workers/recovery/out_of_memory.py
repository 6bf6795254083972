"""Out-of-memory handling: detect it in any library, name the measures of a retry, advise once retries are exhausted.

`Job.with_less_memory` defines the measures: the batch size is halved down to a minimum, then the model is offloaded.
"""

import errno

import torch

from mlprune.errors import OutOfMemoryError
from mlprune.steps.job import HALF_MODEL, ONE_BLOCK, Job, batch_tokens_of

OFFLOAD_NAMES = {HALF_MODEL: "offloaded", ONE_BLOCK: "offloaded, one block at a time"}
"""`Job.offload_level` -> its name in run files and logs."""

ALLOCATOR_MESSAGES = (
    "can't allocate memory",
    "not enough memory",
    "cannot allocate memory",
    "out of memory",
    "bad_alloc",
    "status_alloc_failed",  # cuBLAS, cuSOLVER and cuDNN, when torch's allocator holds the memory of the accelerator
    "cublas_status_not_initialized",
)
"""Messages of native allocators inside errors of general types; lower case."""
ACCELERATOR_NAMES = ("cuda", "cublas", "cusolver", "cudnn", "hip ")
"""Libraries of accelerators in messages of allocators; lower case."""
LIBRARY_ERRORS = ("SafetensorError", "OutOfMemoryException")
"""Error types of safetensors and DuckDB that may report failed allocations and have no more specific base class."""


def is_out_of_memory(err: BaseException) -> bool:
    """Return whether an error means that memory ran out.

    `torch.OutOfMemoryError` of an accelerator and torch's CPU allocator raise subclasses of RuntimeError, the operating
    system an OSError, Python, NumPy and Arrow subclasses of MemoryError.
    """
    if isinstance(err, OutOfMemoryError | MemoryError | torch.OutOfMemoryError):
        return True
    if isinstance(err, OSError) and err.errno is not None:
        return err.errno == errno.ENOMEM
    is_general = isinstance(err, RuntimeError | OSError) or type(err).__name__ in LIBRARY_ERRORS
    return is_general and any(message in str(err).lower() for message in ALLOCATOR_MESSAGES)


def is_accelerator_memory(err: BaseException) -> bool:
    """Return whether an error means that the memory of an accelerator ran out."""
    if isinstance(err, torch.OutOfMemoryError):
        return True
    return is_out_of_memory(err) and any(name in str(err).lower() for name in ACCELERATOR_NAMES)


def memory_level(job: Job) -> str:
    """Name what a job does to save memory: `as planned`, `half batches`, `1/4 batches` and so on, or `offloaded`."""
    if job.offload_level:
        return OFFLOAD_NAMES[job.offload_level]
    if job.n_halvings > 1:
        return f"1/{2**job.n_halvings} batches"
    return "half batches" if job.n_halvings else "as planned"


def advice(job: Job) -> str:
    """Advise what to change in the recipe when a job runs out of memory with everything tried."""
    if not job.needs_chain:
        return "in the recipe, use fewer replicas: compute: {replicas: 1}"
    n_tokens = batch_tokens_of(job)
    tried = "" if n_tokens is None else f" (batches of {n_tokens} tokens did not fit)"
    return f"in the recipe, use more shards (compute: {{shards: 2}}) or fewer replicas{tried}"
