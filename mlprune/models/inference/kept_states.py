"""Hidden states of scored batches that later variants continue, so that no block runs twice on the same input.

The states before a block depend on the batch and on the weights of the earlier blocks alone. A variant that changes
only the last blocks starts at the first one that it changes, with the states of the dense model. Every variant starts
with the embeddings and captured calls of the first one.

Memory is limited. States that neither the current variant nor the one before it has used give way to new ones.
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from threading import Lock

from mlprune.models.masks.block_changes import DENSE
from mlprune.models.messages import States
from mlprune.models.placement.memory_estimate import Footprint

STATES_BYTES = 2**26
"""Memory for the states of any model, unless a job asks for more. Small models need no more."""
WEIGHTS_SHARE = 8
"""Bytes of weights per byte of states, for variants that differ in a few blocks of a large model."""

Path = tuple[int, ...]
"""Numbers of the sequences of first blocks of a variant: of no block, of block 0, of blocks 0 and 1, ..."""


def bytes_for_shared_blocks(sizes: Footprint) -> int:
    """Return the memory for the states of variants that differ in a few blocks."""
    return max(STATES_BYTES, (sizes.before + sum(sizes.blocks) + sizes.tail - sizes.tied) // WEIGHTS_SHARE)


@dataclass
class _Entry:
    states: States
    n_bytes: int
    last_variant: int
    """Number of the last variant that used the states."""


class KeptStates:
    """States of batches before the blocks of a model. Thread-safe while no weight changes.

    Args:
        contents: returns what determines the weights of the first blocks, as far as it is known; see `DENSE`.
    """

    def __init__(self, contents: Callable[[], Sequence[Hashable]], *, limit_bytes: int = STATES_BYTES) -> None:
        self._limit_bytes = limit_bytes
        self._n_shared = 0
        self._contents = contents
        self._n_bytes = 0
        self._n_variants = 0
        self._current: Sequence[Hashable] = ()
        self._numbers: dict[tuple[int, Hashable], int] = {}
        """(number of a sequence of blocks, content of the next block) -> number of the longer sequence."""
        self._entries: dict[tuple[str, int], _Entry] = {}
        """(key of the batch, number of the blocks that have run) -> states, those that were used last at the end."""
        self._lock = Lock()
        self.others: dict[Hashable, object] = {}
        """What visitors keep for later variants in addition, by their own key; they limit its memory themselves."""

    def plan(self, limit_bytes: int, *, n_shared: int) -> None:
        """Set the memory of all states, and what the next variant will share.

        Args:
            n_shared: first blocks that the next variant has in common with the current one, changed or not.
        """
        if self._n_bytes > limit_bytes:
            self.clear()
        self._limit_bytes, self._n_shared = limit_bytes, n_shared

    def path(self) -> Path:
        """Return the numbers of the current variant's first blocks whose states are kept, or may be."""
        contents = self._contents()
        with self._lock:
            if contents != self._current:
                self._current, self._n_variants = contents, self._n_variants + 1
            path, is_dense = [0], True
            for block, content in enumerate(contents):
                is_dense = is_dense and content == DENSE
                key = path[-1], content
                if key not in self._numbers:
                    if not is_dense and block >= self._n_shared:
                        break
                    self._numbers[key] = len(self._numbers) + 1
                path.append(self._numbers[key])
            return tuple(path)

    def nearest(self, batch: str, path: Path) -> tuple[int, States] | None:
        """Return the last block before which the states of a batch are kept, with the states; None if there is none."""
        with self._lock:
            for block in reversed(range(len(path))):
                if entry := self._entries.pop((batch, path[block]), None):
                    entry.last_variant = self._n_variants
                    self._entries[batch, path[block]] = entry
                    return block, entry.states
        return None

    def keep(self, batch: str, number: int, states: States) -> None:
        """Keep the states of a batch after the blocks with a number of a path, if there is room."""
        n_bytes = sum(group.n_bytes for group in states)
        with self._lock:
            while self._entries and self._n_bytes + n_bytes > self._limit_bytes:
                oldest = next(iter(self._entries))
                if self._entries[oldest].last_variant >= self._n_variants - 1:
                    return
                self._n_bytes -= self._entries.pop(oldest).n_bytes
            if self._n_bytes + n_bytes <= self._limit_bytes and (batch, number) not in self._entries:
                self._entries[batch, number] = _Entry(states, n_bytes, self._n_variants)
                self._n_bytes += n_bytes

    def clear(self) -> None:
        """Drop all states."""
        with self._lock:
            self._entries.clear()
            self._numbers.clear()
            self.others.clear()
            self._n_bytes = 0
