"""Memory budgets for the process that runs a shard, and for the batches that run through its blocks together."""

from collections.abc import Sequence
from dataclasses import dataclass

from mlprune.errors import ModelError
from mlprune.models.placement.memory_estimate import (
    GROUP_BYTES,
    PROCESS_BYTES,
    Footprint,
    estimate_working_bytes,
    gib_rounded_up,
    shard_bytes,
)

MAX_WINDOW = 2
"""Maximum number of blocks in a window: one runs while the next is read. More would not be faster."""
_STATES = 4
"""Number of copies of a batch's hidden states in memory at once: before, inside and after a block."""
_MASK_ITEMSIZE = 4
"""Maximum size of one entry of an attention mask."""


@dataclass(frozen=True)
class MemoryBudget:
    """Memory that the process of a shard may use."""

    process_bytes: int
    """Memory of the whole process: its base (`PROCESS_BYTES`), weights, and working memory."""
    working_bytes: int | None = None
    """The working memory in it (hidden states, pruning); None to estimate it from the model."""

    def with_working(self, sizes: Footprint, *, n_threads: int) -> "MemoryBudget":
        """Return the budget with an estimate of the working memory, if that is not given."""
        if self.working_bytes is not None:
            return self
        return MemoryBudget(self.process_bytes, estimate_working_bytes(sizes, n_threads=n_threads))


@dataclass(frozen=True)
class Residency:
    """Blocks of a shard in memory: the first `n_resident` always, and `window` of the others at a time."""

    n_resident: int
    window: int
    """0 if all blocks, the embeddings and the head stay in memory."""


def residency(sizes: Footprint, span: Sequence[int], budget: MemoryBudget) -> Residency:
    """Choose the blocks that stay in memory within a budget.

    In an offloaded shard, embeddings and head are in memory only while it embeds or scores; the window is empty then.

    Args:
        span: the shard's blocks.
        budget: memory budget; the default working memory is for one thread and batches of 512 tokens.
    Raises:
        ModelError: one block, the embeddings or the head do not fit; the error has the smallest sufficient budget.
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
        "a memory budget has no room for one block of the model and the working memory",
        blocks=f"{span[0]} to {span[-1]}",
        expected=f"{gib_rounded_up(smallest_budget(sizes, span, working_bytes=working), digits=2):.2f} GiB or more",
        got=f"{budget.process_bytes / 2**30:.2f} GiB",
    )


def resident_blocks(sizes: Footprint, span: Sequence[int], budget: MemoryBudget) -> int:
    """Return the number of blocks in memory at once within a budget; fewer than all if the shard is offloaded.

    The result is 1 for a shard of one block, even if its embeddings or head are offloaded. Args and Raises: as for
    `residency`.
    """
    plan = residency(sizes, span, budget)
    n = plan.n_resident + plan.window
    return n if plan.window == 0 else min(n, max(1, len(span) - 1))


def smallest_budget(sizes: Footprint, span: Sequence[int], *, working_bytes: int | None = None) -> int:
    """Return the least memory with which a process can run a shard, one block at a time; see `residency`."""
    working = estimate_working_bytes(sizes) if working_bytes is None else working_bytes
    return _needed_bytes(sizes, span, Residency(0, 1), working=working)


def _needed_bytes(sizes: Footprint, span: Sequence[int], plan: Residency, *, working: int) -> int:
    """Return the memory that an offloaded shard needs to run blocks, or to embed or score, whichever is more."""
    largest = max(sizes.blocks[block] for block in span)
    is_first, is_last = span[0] == 0, span[-1] == len(sizes.blocks) - 1
    embedding = sizes.before - sizes.on_demand if is_first else 0
    head = sizes.tail if is_last else 0
    for_blocks = (plan.n_resident + plan.window) * largest + working
    for_ends = plan.n_resident * largest + GROUP_BYTES + max(embedding, head)
    return PROCESS_BYTES + max(for_blocks, for_ends)


@dataclass(frozen=True)
class GroupLimit:
    """Memory limit of the batches of a group between two blocks of an offloaded shard."""

    per_token: int
    """Bytes of a token's hidden states."""
    per_row: int
    """Bytes of the sums of one demonstration over all blocks."""
    per_input: int
    """Bytes of a token's activations at the widest input, if they are captured."""
    n_bytes: int = GROUP_BYTES

    def token_bytes(self, length: int) -> int:
        """Return the size of hidden states and mask row of one token, in a sequence of this length."""
        return self.per_token + _MASK_ITEMSIZE * length


def group_limit(sizes: Footprint) -> GroupLimit:
    """Return the group limit for a model."""
    n_features = len(sizes.blocks) * (sizes.inputs + sizes.hidden)
    return GroupLimit(
        per_token=_STATES * sizes.hidden * sizes.itemsize,
        per_row=4 * n_features,
        per_input=sizes.widest * sizes.itemsize,
    )
