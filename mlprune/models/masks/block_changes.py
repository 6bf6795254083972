"""Changes of a block's weights: keep masks and new weights."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from torch import Tensor

from mlprune.numeric.masks.packed_masks import PackedMask


@dataclass(frozen=True)
class BlockChanges:
    """The changes of one block against its dense weights. Layers that are not listed are dense."""

    masks: Mapping[str, PackedMask]
    """Layer -> the weights to keep."""
    weights: Mapping[str, Tensor] = field(default_factory=dict)
    """Layer -> new weight [out, in], any float dtype; a mask of the layer is applied to it."""

    @classmethod
    def of(cls, masks: Mapping[str, Tensor], weights: Mapping[str, Tensor] | None = None) -> "BlockChanges":
        """Pack boolean masks, [out, in], on their devices."""
        return cls({layer: PackedMask.pack(mask) for layer, mask in masks.items()}, weights or {})


ReadChanges = Callable[[int], BlockChanges]
"""Returns the changes of a block; thread-safe and picklable."""


def read_ahead(read: ReadChanges, blocks: Sequence[int]) -> Iterator[tuple[int, BlockChanges]]:
    """Yield each block with its changes, while those of the next block are read in the background."""
    with ThreadPoolExecutor(1, thread_name_prefix="reads-masks") as background:
        pending = [background.submit(read, block) for block in blocks[:1]]
        for position, block in enumerate(blocks):
            changes = pending.pop().result()
            pending = [background.submit(read, later) for later in blocks[position + 1 : position + 2]]
            yield block, changes
