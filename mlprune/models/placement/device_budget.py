"""Room for weights on the accelerators of an actor: the one budget of the planner and of the loader.

On every accelerator, a share of the free memory minus the working memory of the jobs is for weights. The planner fills
this room with the parts of a model by their sizes, in the order in which accelerate fills it with modules.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from mlprune.models.placement.memory_estimate import Footprint, shard_bytes

USABLE_SHARE = 0.9
"""Usable share of the free memory of an accelerator; the driver, libraries and fragmentation take the remainder."""


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
