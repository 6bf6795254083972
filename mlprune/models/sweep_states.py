"""Resident states of a sequential sweep: hidden states before or behind a block, each batch under its key.

Batches are worked on side by side, and what they give is put together in the order of the keys: the bits do not depend
on the number of threads. When a block is observed and what is done with the sums is decided elsewhere.
"""

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence

import torch
from torch import Tensor

from mlprune.models.inference.block_runner import BlockRunner, leaving
from mlprune.models.messages import SweepPart, TokenBatch
from mlprune.numeric.activations.gram import GramAccumulator
from mlprune.parallel import n_threads, parallel_map

Sums = dict[str, Tensor]
"""input -> [b, in] float32, sums of squares over counted tokens."""


class ResidentStates:
    """The batches of a sweep in one shard.

    Args:
        runner: runs the shard's blocks.
    """

    def __init__(self, runner: BlockRunner) -> None:
        self._runner = runner
        self._parts: dict[Hashable, SweepPart] = {}
        self._products: dict[str, GramAccumulator] = {}

    @torch.inference_mode()
    def start(self, key: Hashable, batch: TokenBatch) -> None:
        """Embed a batch and keep its states."""
        self._parts[key] = SweepPart(self._runner.embed(batch.token_ids, batch.attention_mask), batch.counted)

    def observe(self, block: int, keys: Sequence[Hashable], *, with_products: bool) -> dict[Hashable, Sums]:
        """Run a block for its statistics only, see `Shard.sweep_observe`."""
        self._products.clear()

        @torch.inference_mode()
        def observed(key: Hashable) -> tuple[Sums, dict[str, list[Tensor]]]:
            part = self._parts[key]
            return self._runner.only_observed(block, part.states, part.counted, keeps_tokens=with_products)

        if not with_products:
            return {key: sums for key, (sums, _) in zip(keys, parallel_map(observed, keys), strict=True)}
        found: dict[Hashable, Sums] = {}
        for some in _groups(keys, n_threads()):
            observations = list(parallel_map(observed, some))
            found.update((key, sums) for key, (sums, _) in zip(some, observations, strict=True))
            self._add_products([tokens for _, tokens in observations])
        return found

    def advance(self, block: int, keys: Iterable[Hashable]) -> None:
        """Run a block and keep the states behind it."""

        @torch.inference_mode()
        def advanced(key: Hashable) -> None:
            part = self._parts[key]
            self._parts[key] = SweepPart(self._runner.step(block, part.states), part.counted)

        for _ in parallel_map(advanced, keys):
            pass

    def take_products(self) -> dict[str, Tensor]:
        """input -> [in, in] float64 of the block that was observed last, and forget them; empty without."""
        products = {name: sums.matrix() for name, sums in self._products.items()}
        self._products.clear()
        return products

    def release(self, key: Hashable) -> SweepPart:
        """Give states away."""
        part = self._parts.pop(key)
        return SweepPart(leaving(part.states), part.counted)

    def accept(self, key: Hashable, part: SweepPart) -> None:
        """Take over states that another shard released."""
        self._parts[key] = SweepPart(self._runner.arrived(part.states), part.counted)

    def clear(self) -> None:
        """Forget everything."""
        self._parts.clear()
        self._products.clear()

    def _add_products(self, observed: Sequence[Mapping[str, Sequence[Tensor]]]) -> None:
        for name in observed[0]:
            pieces = [piece for tokens in observed for piece in tokens[name]]
            if name not in self._products:
                self._products[name] = GramAccumulator(pieces[0].shape[1], pieces[0].device)
            self._products[name].add(pieces)


def _groups(keys: Sequence[Hashable], size: int) -> Iterator[Sequence[Hashable]]:
    """Consecutive keys, so many at a time."""
    for start in range(0, len(keys), size):
        yield keys[start : start + size]
