"""Memory budgets of a shard and its batches, and room for weights on accelerators, for planner and loader.

On every accelerator, a share of the free memory minus the working memory of the jobs is for weights. The planner fills
this room with the parts of a model by their sizes, in the order in which accelerate fills it with modules.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from mlprune.errors import ModelError
from mlprune.models.placement.memory_estimate import (
    GROUP_BYTES,
    PROCESS_BYTES,
    Footprint,
    estimate_working_bytes,
    gib_rounded_up,
    shard_bytes,
)

USABLE_SHARE = 0.9
"""Usable share of the free memory of an accelerator; the driver, libraries and fragmentation take the remainder."""
MAX_WINDOW = 2
"""Maximum number of blocks in a window: one runs while the next is read. More would not be faster."""
_STATES = 4
"""Number of copies of a batch's hidden states in memory at once: before, inside and after a block."""
_MASK_ITEMSIZE = 4
"""Maximum size of one entry of an attention mask."""


class DeviceMemory(NamedTuple):
    """Memory of one accelerator."""

    free_bytes: int
    total_bytes: int


@dataclass(frozen=True)
class DeviceBudget:
    """Accelerators that an actor may use, and how much of each. The default is all of every visible one."""

    n_devices: float = math.inf
    """Number of accelerators, or the fraction of one; 0 for none."""
    working_bytes: int = 0
    """Memory of the jobs on each accelerator: activations, KV caches, logits, scores and Gram matrices."""
    fraction_bytes: int | None = None
    """Memory of the fraction, if actors share an accelerator; by default the fraction of its total memory."""
    device_share: float = 1.0
    """Share of the weights that may be on accelerators. Below 1, the last blocks run elsewhere."""

    def n_used(self, n_visible: int) -> int:
        """Return the number of accelerators that the actor uses; it uses the first ones."""
        return min(n_visible, math.ceil(min(self.n_devices, n_visible)))

    def weight_rooms(self, devices: Sequence[DeviceMemory], *, weight_bytes: int) -> tuple[int, ...]:
        """Return the bytes for weights on each accelerator that the actor uses.

        Args:
            devices: memory of the visible accelerators.
            weight_bytes: size of all weights of the shard.
        """
        used = devices[: self.n_used(len(devices))]
        rooms = [max(0, int(USABLE_SHARE * self._usable_bytes(device)) - self.working_bytes) for device in used]
        if self.device_share == 1.0 or not any(rooms):
            return tuple(rooms)
        share = self.device_share * min(1.0, weight_bytes / sum(rooms))
        return tuple(int(room * share) for room in rooms)

    def _usable_bytes(self, device: DeviceMemory) -> int:
        if self.n_devices >= 1:
            return device.free_bytes
        fraction = int(device.total_bytes * self.n_devices) if self.fraction_bytes is None else self.fraction_bytes
        return min(device.free_bytes, fraction)


ALL_DEVICES = DeviceBudget()
"""The default budget of a model that is loaded without a plan."""
NO_DEVICES = DeviceBudget(0.0)
"""The budget of an actor that uses no accelerator."""


@dataclass(frozen=True)
class DevicePlacement:
    """Parts of a shard that are on accelerators."""

    n_blocks: int = 0
    """The first blocks of the shard."""
    has_embeddings: bool = False
    """Whether everything before the blocks is there."""
    has_head: bool = False
    """Whether the final norm and the head are there."""
    n_devices: int = 0
    """Accelerators that have a part."""
    fullest_bytes: int = 0
    """Size of the parts on the accelerator that has most."""

    def left_over(self, sizes: Footprint) -> Footprint:
        """Return the sizes of the model without the embeddings and the head that are on accelerators."""
        if self.has_embeddings:
            sizes = replace(sizes, before=0, on_demand=0, tail=sizes.tail - sizes.tied, tied=0)
        return replace(sizes, tail=0, tied=0) if self.has_head else sizes

    def host_bytes(self, sizes: Footprint, span: range) -> int:
        """Return the size of the shard's weights that are not on accelerators."""
        ends = self.left_over(sizes)
        return shard_bytes(ends, span) - sum(sizes.blocks[block] for block in span[: self.n_blocks])


def place_parts(sizes: Footprint, span: range, rooms: Sequence[int]) -> DevicePlacement:
    """Fill the room on accelerators with the parts of a shard, in order; no part is split and none goes back.

    A head that shares the embeddings' tensor is placed with them.

    Args:
        span: the shard's blocks.
        rooms: bytes for weights on each accelerator.
    """
    is_first, is_last = span.start == 0, span.stop == len(sizes.blocks)
    tail = sizes.tail - (sizes.tied if is_first else 0) if is_last else 0
    parts = [sizes.before if is_first else 0, *(sizes.blocks[block] for block in span), tail]
    device, used, placed, devices, fullest = 0, 0, 0, set(), 0
    for size in parts:
        while device < len(rooms) and used + size > rooms[device]:
            device, used = device + 1, 0
        if device == len(rooms):
            break
        used += size
        placed += 1
        devices |= {device} if size else set()
        fullest = max(fullest, used)
    return DevicePlacement(
        n_blocks=min(max(0, placed - 1), len(span)),
        has_embeddings=is_first and placed > 0,
        has_head=is_last and placed == len(parts),
        n_devices=len(devices),
        fullest_bytes=fullest,
    )


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
    n_experts: int | None = None
    """Experts of the running block in memory at a time, if a block with all of them does not fit; None: all."""


_ONE_EXPERT = Residency(0, 1, 1)
"""The least in memory: a block with one of its experts, or a whole block without experts."""


def residency(sizes: Footprint, span: Sequence[int], budget: MemoryBudget) -> Residency:
    """Choose the blocks that stay in memory within a budget.

    In an offloaded shard, embeddings and head are in memory only while it embeds or scores; the window is empty then.
    If not even one block fits, it is in memory without most of its experts, which are read when they run.

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
    plan = _ONE_EXPERT
    if _needed_bytes(sizes, span, plan, working=working) <= budget.process_bytes:
        spare = budget.process_bytes - _needed_bytes(sizes, span, plan, working=working)
        return replace(plan, n_experts=1 + spare // max(1, sizes.expert))
    raise ModelError(
        "a memory budget has no room for one block of the model and the working memory",
        blocks=f"{span[0]} to {span[-1]}",
        expected=f"{gib_rounded_up(smallest_budget(sizes, span, working_bytes=working), digits=2):.2f} GiB or more",
        got=f"{budget.process_bytes / 2**30:.2f} GiB",
    )


def resident_blocks(sizes: Footprint, span: Sequence[int], budget: MemoryBudget) -> int:
    """Return the number of blocks in memory at once within a budget; fewer than all if the shard is offloaded.

    The result is 1 for a shard of one block, even if its embeddings or head are offloaded, and 0 if some experts of a
    block are read when they run. Args and Raises: as for `residency`.
    """
    plan = residency(sizes, span, budget)
    if plan.n_experts is not None:
        return 0
    n = plan.n_resident + plan.window
    return n if plan.window == 0 else min(n, max(1, len(span) - 1))


def smallest_budget(sizes: Footprint, span: Sequence[int], *, working_bytes: int | None = None) -> int:
    """Return the least memory with which a process can run a shard: one block, or one expert; see `residency`."""
    working = estimate_working_bytes(sizes) if working_bytes is None else working_bytes
    plans = (Residency(0, 1), _ONE_EXPERT)
    return min(_needed_bytes(sizes, span, plan, working=working) for plan in plans)


def _needed_bytes(sizes: Footprint, span: Sequence[int], plan: Residency, *, working: int) -> int:
    """Return the memory that an offloaded shard needs to run blocks, or to embed or score, whichever is more."""
    parts = sizes.blocks if plan.n_experts is None else sizes.without_experts or sizes.blocks
    largest = max(parts[block] for block in span) + (plan.n_experts or 0) * sizes.expert
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
