"""Resident states of a pass block by block: the hidden states of each batch before or after a block, under a key.

Several batches run at once. Their results are combined in the order of the keys, so they do not depend on the number of
threads.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar, overload

import torch
from torch import Tensor

from mlprune.errors import statistics_context
from mlprune.models.gradients import regional_gradients
from mlprune.models.inference.block_runner import BlockRunner
from mlprune.models.inference.observation import check_inputs, observe_inputs, run_keeping_tokens
from mlprune.models.inference.spilled_states import SpilledStates
from mlprune.models.messages import (
    ONLY_SQUARES,
    FittedOutput,
    HiddenStates,
    SweepObservation,
    SweepStates,
    TokenBatch,
    WantedStatistics,
)
from mlprune.numeric.activations.accelerator_statistics import HostCopies, submit_hidden_magnitudes
from mlprune.numeric.activations.feature_sums import FeatureSums, check_feature_sums, feature_sums
from mlprune.numeric.activations.gram import GramAccumulator
from mlprune.numeric.activations.statistics import CountedTokens, check_sums
from mlprune.processes.parallel import n_threads, parallel_map

Key = TypeVar("Key")
Value = TypeVar("Value")
Sums = dict[str, Tensor]
"""input -> [b, in] float32, sums of squares over counted tokens."""
Tokens = dict[str, list[Tensor]]
"""input -> counted tokens [t, in] of each demonstration of a batch."""
CopyKey = tuple[str, Hashable, str | int]
"""(kind of statistic, key of a batch, input or number of blocks that have run)."""


class _Observed:
    """What one batch gave, on the device of the block."""

    def __init__(self, sums: Sums, tokens: Tokens) -> None:
        self.sums = sums
        self.tokens = tokens
        self.feature_sums: dict[str, FeatureSums] = {}
        self.magnitudes: dict[int, Tensor] = {}


class ResidentStates:
    """The batches of a sweep in one shard.

    Args:
        runner: runs the shard's blocks.
    """

    def __init__(self, runner: BlockRunner) -> None:
        self._runner = runner
        self._states = SpilledStates()
        self._counted: dict[Hashable, CountedTokens] = {}
        self._sums: dict[Hashable, Sums] = {}
        self._products: dict[str, GramAccumulator] = {}
        self._products_of_sets: dict[Hashable, dict[str, GramAccumulator]] = {}
        self._gradients: dict[Hashable, dict[str, Tensor]] = {}
        self._feature_sums: dict[Hashable, dict[str, dict[str, Tensor]]] = {}
        self._magnitudes: dict[tuple[int, Hashable], Tensor] = {}

    @torch.inference_mode()
    def start(self, key: Hashable, batch: TokenBatch) -> None:
        """Embed a batch and keep its states."""
        states = self._runner.embed(batch.token_ids, batch.attention_mask)
        self._add(key, SweepStates(states, batch.counted, batch.groups))

    def observe(
        self,
        block: int,
        keys: Sequence[Hashable],
        *,
        with_products: bool,
        wanted: WantedStatistics = ONLY_SQUARES,
    ) -> None:
        """Run a block for its statistics and keep them, see `Shard.sweep_observe`."""
        self._forget()
        if wanted.gradients:
            self._add_gradients(block, keys)
        copies = HostCopies[CopyKey]()
        keeps_tokens = with_products or wanted.reads_tokens

        @torch.inference_mode()
        def observe(key: Hashable) -> _Observed:
            return self._observe_batch(block, key, wanted, keeps_tokens=keeps_tokens)

        for group in _groups(keys, n_threads()) if keeps_tokens else (keys,):
            observed = list(parallel_map(observe, group)) if keeps_tokens else parallel_map(observe, group)
            tokens = []
            for key, of_batch in zip(group, observed, strict=True):
                tokens.append(of_batch.tokens)
                self._submit(block, key, of_batch, copies)
            if with_products:
                self._add_products(self._products, tokens, torch.float64)
            if wanted.products:
                chosen = tokens if wanted.products_of is None else [_only(of, wanted.products_of) for of in tokens]
                self._add_products_of_sets(group, chosen)
        self._keep_copied(block, copies)

    def _observe_batch(self, block: int, key: Hashable, wanted: WantedStatistics, *, keeps_tokens: bool) -> _Observed:
        """Run a block on one batch; if the pass advances, keep the states after it."""
        batch, counted = self._states[key], self._counted[key]
        if not wanted.advances:
            found = _Observed(
                *observe_inputs(self._runner, block, batch.states, counted=counted, keeps_tokens=keeps_tokens)
            )
        else:
            after, listener = run_keeping_tokens(
                self._runner, block, batch.states, counted=counted, keeps_tokens=keeps_tokens
            )
            self._states[key] = replace(batch, states=after)
            found = _Observed(listener.sums(), listener.tokens)
            if wanted.magnitudes:
                run = {0: batch.states, 1: after} if block == 0 else {block + 1: after}
                found.magnitudes = {n: submit_hidden_magnitudes(of.hidden, counted) for n, of in run.items()}
        if wanted.sums:
            found.feature_sums = {name: feature_sums(rows) for name, rows in found.tokens.items()}
        return found

    def advance(self, block: int, keys: Iterable[Hashable]) -> None:
        """Run a block and keep the states after it."""

        @torch.inference_mode()
        def advance(key: Hashable) -> None:
            batch = self._states[key]
            self._states[key] = replace(batch, states=self._runner.step(block, batch.states))

        for _ in parallel_map(advance, keys):
            pass

    def fitted_outputs(self, pairs: Sequence[tuple[Hashable, Hashable]]) -> Sequence[FittedOutput]:
        """Return what a block reads and should return, by pair; states are read when they are used.

        Args:
            pairs: (batch whose states before the block are read, batch whose states are those after the dense block).
        """

        def fitted_output(pair: tuple[Hashable, Hashable]) -> FittedOutput:
            given, target = (self._states[key] for key in pair)
            return FittedOutput(given.states, target.states.hidden)

        return _ReadWhenUsed(fitted_output, pairs)

    def take_observation(self) -> SweepObservation:
        """Remove and return what the last observed block gave."""
        observation = SweepObservation(
            dict(self._sums),
            {name: sums.matrix() for name, sums in self._products.items()},
            feature_sums={
                key: {name: FeatureSums(**tensors) for name, tensors in of_batch.items()}
                for key, of_batch in self._feature_sums.items()
            },
            products_of_sets={
                name: {layer_input: sums.upper() for layer_input, sums in of_set.items()}
                for name, of_set in self._products_of_sets.items()
            },
            gradients=dict(self._gradients),
            magnitudes=dict(self._magnitudes),
        )
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
        return replace(batch, states=batch.states.to(torch.device("cpu")))

    def accept(self, key: Hashable, batch: SweepStates) -> None:
        """Keep states that another shard released."""
        self._add(key, replace(batch, states=self._runner.receive(batch.states)))

    def clear(self) -> None:
        """Drop all states and observations."""
        self._states.clear()
        self._counted.clear()
        self._forget()

    def _add(self, key: Hashable, states: SweepStates) -> None:
        self._states[key] = states
        self._counted[key] = CountedTokens(states.counted, states.groups)

    def _forget(self) -> None:
        for kept in (self._sums, self._products, self._products_of_sets, self._gradients):
            kept.clear()
        self._feature_sums.clear()
        self._magnitudes.clear()

    def _submit(self, block: int, key: Hashable, observed: _Observed, copies: HostCopies[CopyKey]) -> None:
        """Keep the statistics of a batch once they are on the CPU; many are copied at once."""
        for name, rows in observed.sums.items():
            copies.add(("squares", key, name), rows)
        for name, sums in observed.feature_sums.items():
            copies.add(("sums", key, name), sums.sums)
            copies.add(("deviations", key, name), sums.deviations)
        for n_blocks_run, magnitudes in observed.magnitudes.items():
            copies.add(("magnitudes", key, n_blocks_run), magnitudes)
        if copies.is_large:
            self._keep_copied(block, copies)

    def _keep_copied(self, block: int, copies: HostCopies[CopyKey]) -> None:
        for (kind, key, name), values in copies.take().items():
            if isinstance(name, int):
                with statistics_context(n_blocks_run=name):
                    check_sums(values)
                self._magnitudes[name, key] = values
            elif kind == "squares":
                check_inputs(block, {name: values})
                self._sums.setdefault(key, {})[name] = values
            else:
                with statistics_context(input=name, block=block):
                    check_feature_sums(values)
                self._feature_sums.setdefault(key, {}).setdefault(name, {})[kind] = values

    def _add_gradients(self, block: int, keys: Sequence[Hashable]) -> None:
        """Compute the regional gradients of each set, with the states before the block."""

        def batch(key: Hashable) -> tuple[HiddenStates, CountedTokens]:
            return self._states[key].states, self._counted[key]

        for name in dict.fromkeys(map(set_of, keys)):
            batches = _ReadWhenUsed(batch, [key for key in keys if set_of(key) == name])
            self._gradients[name] = regional_gradients(self._runner, block, batches)

    def _add_products_of_sets(self, keys: Sequence[Hashable], tokens: Sequence[Tokens]) -> None:
        """Add the products of some batches to the Gram matrices of their sets."""
        names = [set_of(key) for key in keys]
        for name in dict.fromkeys(names):
            of_set = [pieces for other, pieces in zip(names, tokens, strict=True) if other == name]
            self._add_products(self._products_of_sets.setdefault(name, {}), of_set, torch.float32)

    def _add_products(
        self, products: dict[str, GramAccumulator], observed: Sequence[Tokens], dtype: torch.dtype
    ) -> None:
        for name in observed[0]:
            pieces = [piece for tokens in observed for piece in tokens[name]]
            if name not in products:
                products[name] = GramAccumulator(pieces[0].shape[1], pieces[0].device, dtype=dtype)
            products[name].add(pieces)


class _ReadWhenUsed(Sequence[Value]):
    """Values that are read when they are used, each time again.

    Args:
        read: thread-safe.
        keys: what is read, in the order of the values.
    """

    def __init__(self, read: Callable[[Key], Value], keys: Sequence[Key]) -> None:
        self._read = read
        self._keys = keys

    def __len__(self) -> int:
        """Number of values."""
        return len(self._keys)

    @overload
    def __getitem__(self, number: int) -> Value: ...

    @overload
    def __getitem__(self, number: slice) -> Sequence[Value]: ...

    def __getitem__(self, number: int | slice) -> Value | Sequence[Value]:
        """Read a value, or select some without reading them."""
        if isinstance(number, slice):
            return _ReadWhenUsed(self._read, self._keys[number])
        return self._read(self._keys[number])


def _only(tokens: Tokens, inputs: Sequence[str]) -> Tokens:
    """Return the tokens of some inputs, in the order of the block."""
    return {name: pieces for name, pieces in tokens.items() if name in set(inputs)}


def set_of(key: Hashable) -> Hashable:
    """Return the set of a batch: the first part of its key if that is a tuple, otherwise None."""
    return key[0] if isinstance(key, tuple) else None


def _groups(keys: Sequence[Hashable], size: int) -> Iterator[Sequence[Hashable]]:
    """Split keys into consecutive groups of `size`."""
    for start in range(0, len(keys), size):
        yield keys[start : start + size]
