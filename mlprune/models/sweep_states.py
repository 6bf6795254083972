"""Resident states of a sequential sweep: the hidden states of each batch before or after a block, under a key.

Several batches run at once. Their results are combined in the order of the keys, so they do not depend on the number of
threads.
"""

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence

import torch
from torch import Tensor

from mlprune.models.inference.block_runner import BlockRunner
from mlprune.models.inference.observed_block import check_inputs, observe_inputs
from mlprune.models.messages import SweepObservation, SweepStates, TokenBatch
from mlprune.numeric.activations.counted_tokens import CountedTokens
from mlprune.numeric.activations.gram import GramAccumulator
from mlprune.numeric.activations.host_copies import HostCopies
from mlprune.processes.parallel import n_threads, parallel_map

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
        self._counted: dict[Hashable, CountedTokens] = {}
        self._sums: dict[Hashable, Sums] = {}
        self._products: dict[str, GramAccumulator] = {}

    @torch.inference_mode()
    def start(self, key: Hashable, batch: TokenBatch) -> None:
        """Embed a batch and keep its states."""
        self._add(key, SweepStates(self._runner.embed(batch.token_ids, batch.attention_mask), batch.counted))

    def observe(self, block: int, keys: Sequence[Hashable], *, with_products: bool) -> None:
        """Run a block for its statistics only and keep them, see `Shard.sweep_observe`."""
        self._forget()
        copies = HostCopies[tuple[Hashable, str]]()

        @torch.inference_mode()
        def observe(key: Hashable) -> tuple[Sums, dict[str, list[Tensor]]]:
            states, counted = self._states[key].states, self._counted[key]
            return observe_inputs(self._runner, block, states, counted=counted, keeps_tokens=with_products)

        for group in _groups(keys, n_threads()) if with_products else (keys,):
            pieces = []
            for key, (sums, tokens) in zip(group, parallel_map(observe, group), strict=True):
                pieces.append(tokens)
                self._keep_sums(block, key, sums, copies)
            if with_products:
                self._add_products(pieces)
        self._keep_copied(block, copies)

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
        sums, self._sums = self._sums, {}
        return sums

    def add_sums(self, sums: Mapping[Hashable, Mapping[str, Tensor]]) -> None:
        """Add the sums of batches that another replica has observed."""
        self._sums.update((key, dict(of_batch)) for key, of_batch in sums.items())

    def release(self, key: Hashable) -> SweepStates:
        """Remove states and return them on the CPU."""
        batch = self._states.pop(key)
        del self._counted[key]
        return SweepStates(batch.states.to(torch.device("cpu")), batch.counted)

    def accept(self, key: Hashable, batch: SweepStates) -> None:
        """Keep states that another shard released."""
        self._add(key, SweepStates(self._runner.receive(batch.states), batch.counted))

    def clear(self) -> None:
        """Drop all states and observations."""
        self._states.clear()
        self._counted.clear()
        self._forget()

    def _add(self, key: Hashable, states: SweepStates) -> None:
        self._states[key] = states
        self._counted[key] = CountedTokens(states.counted)

    def _forget(self) -> None:
        self._sums.clear()
        self._products.clear()

    def _keep_sums(self, block: int, key: Hashable, sums: Sums, copies: HostCopies[tuple[Hashable, str]]) -> None:
        """Keep the sums of a batch once they are on the CPU; many are copied at once."""
        for name, rows in sums.items():
            copies.add((key, name), rows)
        if copies.is_large:
            self._keep_copied(block, copies)

    def _keep_copied(self, block: int, copies: HostCopies[tuple[Hashable, str]]) -> None:
        for (key, name), rows in copies.take().items():
            check_inputs(block, {name: rows})
            self._sums.setdefault(key, {})[name] = rows

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
