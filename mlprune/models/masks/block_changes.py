"""Changes of a block: keep masks, new weights, quantisation and new biases."""

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from torch import Tensor

from mlprune.errors import ShapeError
from mlprune.models.families.records import Family
from mlprune.numeric.masks.packed_masks import PackedMask
from mlprune.numeric.weights.quantisation import Quantisation
from mlprune.processes.parallel import n_threads, parallel_map


@dataclass(frozen=True)
class BlockChanges:
    """The changes of one block against its dense weights. Layers that are not listed are dense."""

    masks: Mapping[str, PackedMask]
    """Layer -> the weights to keep."""
    weights: Mapping[str, Tensor] = field(default_factory=dict)
    """Layer -> new weight [out, in], any float dtype; a mask of the layer is applied to it."""
    quantisation: Quantisation | None = None
    """Rounding of every prunable layer, also of those without a mask, after masks and new weights; None: none."""
    biases: Mapping[str, Tensor] = field(default_factory=dict)
    """Layer -> new bias [out], any float dtype."""

    @classmethod
    def of(cls, masks: Mapping[str, Tensor], weights: Mapping[str, Tensor] | None = None) -> "BlockChanges":
        """Pack boolean masks, [out, in], on their devices."""
        return cls({layer: PackedMask.pack(mask) for layer, mask in masks.items()}, weights or {})


ReadChanges = Callable[[int], BlockChanges]
"""Returns the changes of a block; thread-safe and picklable."""


@runtime_checkable
class NamedChanges(Protocol):
    """Changes that say what they are read from, so that a block that has them already is not read again."""

    def __call__(self, block: int, /) -> BlockChanges:
        """Return the changes of a block."""

    def source(self, block: int, /) -> Hashable:
        """Return what determines the changes of a block: equal sources have equal changes."""


def source_of(read: ReadChanges, block: int) -> Hashable | None:
    """Return what the changes of a block are read from; None if it is not known."""
    return read.source(block) if isinstance(read, NamedChanges) else None


_PARALLEL_WEIGHTS = 2**28
"""Largest number of weights whose changes are read at the same time; with larger blocks, one block is read ahead."""


def read_each(
    read: ReadChanges, blocks: Sequence[int], change: Callable[[int, BlockChanges], None], *, n_weights: int
) -> None:
    """Read the changes of blocks and call a function with each: in parallel if that fits in memory, else in order.

    Args:
        change: called with a block and its changes; thread-safe.
        n_weights: of the largest block.
    Raises: any error of `read` or `change`.
    """
    if n_threads() <= len(blocks) and n_threads() * n_weights <= _PARALLEL_WEIGHTS:
        list(parallel_map(lambda block: change(block, read(block)), blocks))
        return
    for block, changes in read_ahead(read, blocks):
        change(block, changes)


def read_ahead(read: ReadChanges, blocks: Sequence[int]) -> Iterator[tuple[int, BlockChanges]]:
    """Yield each block with its changes, while those of the next block are read in the background."""
    with ThreadPoolExecutor(1, thread_name_prefix="reads-masks") as background:
        pending = [background.submit(read, block) for block in blocks[:1]]
        for position, block in enumerate(blocks):
            changes = pending.pop().result()
            pending = [background.submit(read, later) for later in blocks[position + 1 : position + 2]]
            yield block, changes


def check_changes(block: int, changes: BlockChanges, *, family: Family, weights: Mapping[str, Tensor]) -> None:
    """Check that changes fit the layers of a block.

    Args:
        weights: layer -> [out, in], the weights of the block.
    Raises:
        ModelError: a block of this family has no such layer.
        ShapeError: a mask or a new weight does not fit its layer.
    """
    for layer in (*changes.masks, *changes.weights):
        family.input_of(layer)
    kinds: dict[str, Mapping[str, tuple[int | str, ...]]] = {
        "mask": {layer: mask.shape for layer, mask in changes.masks.items()},
        "new weight": {
            layer: tuple(weight.shape) if weight.is_floating_point() else (str(weight.dtype),)
            for layer, weight in changes.weights.items()
        },
    }
    for kind, shapes in kinds.items():
        for layer, got in shapes.items():
            expected = tuple(weights[layer].shape)
            if got != expected:
                raise ShapeError(
                    f"a {kind} does not fit its layer", block=block, layer=layer, expected=expected, got=got
                )
