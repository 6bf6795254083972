"""Memory budgets: of the process that runs a shard, and of the batches that pass its blocks together."""

from collections.abc import Sequence
from dataclasses import dataclass

from mlprune.errors import ModelError
from mlprune.models.placement.memory_estimate import (
    GROUP_BYTES,
    PROCESS_BYTES,
    Footprint,
    estimate_working_bytes,
    shard_bytes,
)

MAX_WINDOW = 2
"""Blocks of a window: one computes while the next is read; more would not be faster."""
_STATES = 4
"""Hidden states of a batch that are in memory at once: before and after a block, and inside it."""
_MASK_ITEMSIZE = 4
"""Bytes of one entry of an attention mask, at most."""


@dataclass(frozen=True)
class MemoryBudget:
    """Memory that the process of a shard may use."""

    process_bytes: int
    """Of the whole process: its base (`PROCESS_BYTES`), weights, and work."""
    working_bytes: int | None = None
    """The part for work (hidden states, pruning); None: estimated from the model."""

    def with_working(self, sizes: Footprint, *, n_threads: int) -> "MemoryBudget":
        """The same budget with the part for work estimated, if it is not given."""
        if self.working_bytes is not None:
            return self
        return MemoryBudget(self.process_bytes, estimate_working_bytes(sizes, n_threads=n_threads))


@dataclass(frozen=True)
class Residency:
    """The blocks of a shard that stay in memory: the first `n_staying`; of the others, `window` at a time."""

    n_staying: int
    window: int
    """0 if all blocks, the embeddings and the head stay in memory."""


def residency(sizes: Footprint, span: Sequence[int], budget: MemoryBudget) -> Residency:
    """The blocks that fit in a budget.

    In an offloaded shard, embeddings and head are in memory only while it embeds or scores, and no window is then.

    Args:
        span: the shard's blocks.
        budget: its default for work is that of one thread and batches of 512 tokens.
    Raises:
        ModelError: not even one block fits, or the embeddings or head do not; the smallest budget is named.
    """
    budget = budget.with_working(sizes, n_threads=1)
    working = budget.working_bytes or 0
    if PROCESS_BYTES + working + shard_bytes(sizes, span) <= budget.process_bytes:
        return Residency(len(span), 0)
    for n in range(len(span), 0, -1):
        window = min(MAX_WINDOW, n)
        plan = Residency(n - window, window)
        if _needed_bytes(sizes, span, plan, working=working) <= budget.process_bytes:
            return plan
    raise ModelError(
        "a memory budget has no room for one block of the model and the work on it",
        blocks=f"{span[0]} to {span[-1]}",
        expected=f"{_gib_up(smallest_budget(sizes, span, working_bytes=working)):.2f} GiB or more",
        got=f"{budget.process_bytes / 2**30:.2f} GiB",
    )


def resident_blocks(sizes: Footprint, span: Sequence[int], budget: MemoryBudget) -> int:
    """Blocks of a shard that are in memory at once within a budget; fewer than all if the shard is offloaded.

    Args and Raises: as for `residency`. A shard of one block may offload the embeddings or the head; it is then also 1.
    """
    plan = residency(sizes, span, budget)
    n = plan.n_staying + plan.window
    return n if plan.window == 0 else min(n, max(1, len(span) - 1))


def smallest_budget(sizes: Footprint, span: Sequence[int], *, working_bytes: int | None = None) -> int:
    """Least memory of a process that can run a shard, one block at a time; see `residency` for the default for work."""
    working = estimate_working_bytes(sizes) if working_bytes is None else working_bytes
    return _needed_bytes(sizes, span, Residency(0, 1), working=working)


def _needed_bytes(sizes: Footprint, span: Sequence[int], plan: Residency, *, working: int) -> int:
    """Memory of the process of an offloaded shard: while it runs blocks, or while it embeds or scores."""
    largest = max(sizes.blocks[block] for block in span)
    is_first, is_last = span[0] == 0, span[-1] == len(sizes.blocks) - 1
    embedding = sizes.before - sizes.on_demand if is_first else 0
    head = sizes.tail if is_last else 0
    in_blocks = (plan.n_staying + plan.window) * largest + working
    at_an_end = plan.n_staying * largest + GROUP_BYTES + max(embedding, head)
    return PROCESS_BYTES + max(in_blocks, at_an_end)


@dataclass(frozen=True)
class GroupLimit:
    """Memory that the batches of a group may use between two blocks of an offloaded shard."""

    per_token: int
    """Bytes of a token's hidden states."""
    per_row: int
    """Bytes of the sums of one demonstration over all blocks."""
    per_input: int
    """Bytes of a token's activations at the widest input, if they are captured."""
    n_bytes: int = GROUP_BYTES

    def token_bytes(self, length: int) -> int:
        """Hidden states and mask row of one token of a sequence of this length."""
        return self.per_token + _MASK_ITEMSIZE * length


def group_limit(sizes: Footprint) -> GroupLimit:
    """The limit for a model."""
    n_features = len(sizes.blocks) * (sizes.inputs + sizes.hidden)
    return GroupLimit(
        per_token=_STATES * sizes.hidden * sizes.itemsize,
        per_row=4 * n_features,
        per_input=sizes.widest * sizes.itemsize,
    )


def _gib_up(n_bytes: int) -> float:
    """GiB, rounded up to hundredths, so that a budget of this size suffices."""
    return -(-n_bytes * 100 // 2**30) / 100
