"""Resident states of a sequential sweep: the hidden states of each batch before or after a block, under a key.

Several batches run at once. Their results are combined in the order of the keys, so they do not depend on the number of
threads.
"""

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence

import torch
from torch import Tensor

from mlprune.models.inference.block_runner import BlockRunner
from mlprune.models.inference.observed_block import observe_inputs
from mlprune.models.messages import SweepObservation, SweepStates, TokenBatch
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
        self._states: dict[Hashable, SweepStates] = {}
        self._sums: dict[Hashable, Sums] = {}
        self._products: dict[str, GramAccumulator] = {}

    @torch.inference_mode()
    def start(self, key: Hashable, batch: TokenBatch) -> None:
        """Embed a batch and keep its states."""
        self._states[key] = SweepStates(self._runner.embed(batch.token_ids, batch.attention_mask), batch.counted)

    def observe(self, block: int, keys: Sequence[Hashable], *, with_products: bool) -> None:
        """Run a block for its statistics only and keep them, see `Shard.sweep_observe`."""
        self._forget()

        @torch.inference_mode()
        def observe(key: Hashable) -> tuple[Sums, dict[str, list[Tensor]]]:
            batch = self._states[key]
            return observe_inputs(self._runner, block, batch.states, counted=batch.counted, keeps_tokens=with_products)

        if not with_products:
            self._sums.update((key, sums) for key, (sums, _) in zip(keys, parallel_map(observe, keys), strict=True))
            return
        for group in _groups(keys, n_threads()):
            observations = list(parallel_map(observe, group))
            self._sums.update((key, sums) for key, (sums, _) in zip(group, observations, strict=True))
            self._add_products([tokens for _, tokens in observations])

    def advance(self, block: int, keys: Iterable[Hashable]) -> None:
        """Run a block and keep the states after it."""

        @torch.inference_mode()
        def advance(key: Hashable) -> None:
            batch = self._states[key]
            self._states[key] = SweepStates(self._runner.step(block, batch.states), batch.counted)

        for _ in parallel_map(advance, keys):
            pass

    def take_observation(self) -> SweepObservation:
        """Remove and return what the last observed block gave."""
        products = {name: sums.matrix() for name, sums in self._products.items()}
        observation = SweepObservation(dict(self._sums), products)
        self._forget()
        return observation

    def take_sums(self) -> dict[Hashable, Sums]:
        """Remove and return the sums of the last observed block, on the CPU."""
        sums = {key: {name: rows.cpu() for name, rows in of_batch.items()} for key, of_batch in self._sums.items()}
        self._sums.clear()
        return sums

    def add_sums(self, sums: Mapping[Hashable, Mapping[str, Tensor]]) -> None:
        """Add the sums of batches that another replica has observed, on the device of the sums that are here."""
        device = next((rows.device for of_batch in self._sums.values() for rows in of_batch.values()), None)
        for key, of_batch in sums.items():
            self._sums[key] = {name: rows.to(device) for name, rows in of_batch.items()}

    def release(self, key: Hashable) -> SweepStates:
        """Remove states and return them on the CPU."""
        batch = self._states.pop(key)
        return SweepStates(batch.states.to(torch.device("cpu")), batch.counted)

    def accept(self, key: Hashable, batch: SweepStates) -> None:
        """Keep states that another shard released."""
        self._states[key] = SweepStates(self._runner.receive(batch.states), batch.counted)

    def clear(self) -> None:
        """Drop all states and observations."""
        self._states.clear()
        self._forget()

    def _forget(self) -> None:
        self._sums.clear()
        self._products.clear()

    def _add_products(self, observed: Sequence[Mapping[str, Sequence[Tensor]]]) -> None:
        for name in observed[0]:
            pieces = [piece for tokens in observed for piece in tokens[name]]
            if name not in self._products:
                self._products[name] = GramAccumulator(pieces[0].shape[1], pieces[0].device)
            self._products[name].add(pieces)


def _groups(keys: Sequence[Hashable], size: int) -> Iterator[Sequence[Hashable]]:
    """Split keys into consecutive groups of `size`."""
    for start in range(0, len(keys), size):
        yield keys[start : start + size]
