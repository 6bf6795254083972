"""Want of memory: recognised wherever it was noticed, and what to advise when everything was tried.

The ladder itself is `Job.relieved`: the driver tries a job with half its batches, then with an offloaded model. Telling
a process that the system killed for its memory from one that was killed for another reason is left to `dispatch.py`.
"""

import errno

import torch

from mlprune.errors import OutOfMemoryError
from mlprune.steps.job import AS_PLANNED, HALF_BATCHES, MIN_BATCH_TOKENS, OFFLOADED, Job, batch_tokens_of

IN_WORDS = {AS_PLANNED: "as planned", HALF_BATCHES: "half batches", OFFLOADED: "offloaded"}
"""Levels of relief as run files and logs have them."""

ALLOCATORS = ("can't allocate memory", "not enough memory", "cannot allocate memory", "out of memory", "bad_alloc")
"""How allocators of native code say so, inside errors of general types; in lower case."""
LIBRARY_ERRORS = ("SafetensorError", "OutOfMemoryException")
"""Errors of libraries that may say so and are of no kind that says more: safetensors, DuckDB."""


def is_short_of_memory(err: BaseException) -> bool:
    """Whether an error means that memory was short.

    `torch.OutOfMemoryError` of an accelerator and the CPU allocator of torch raise kinds of RuntimeError, the operating
    system an OSError, Python, NumPy and Arrow kinds of MemoryError.
    """
    if isinstance(err, OutOfMemoryError | MemoryError | torch.OutOfMemoryError):
        return True
    if isinstance(err, OSError) and err.errno is not None:
        return err.errno == errno.ENOMEM
    is_general = isinstance(err, RuntimeError | OSError) or type(err).__name__ in LIBRARY_ERRORS
    return is_general and any(words in str(err).lower() for words in ALLOCATORS)


def advice(job: Job) -> str:
    """What to change in the recipe when a job runs out of memory however little it was given."""
    n_tokens = batch_tokens_of(job)
    if n_tokens is None:
        return "in the recipe, let fewer workers run side by side: compute: {replicas: 1}"
    if n_tokens <= MIN_BATCH_TOKENS:
        return "in the recipe, ask for more shards (compute: {shards: 2}) or fewer replicas"
    smaller = f"compute: {{batch_tokens: {max(MIN_BATCH_TOKENS, n_tokens // 2)}}}"
    return f"in the recipe, ask for smaller batches ({smaller}; {n_tokens} did not fit), more shards or fewer replicas"
