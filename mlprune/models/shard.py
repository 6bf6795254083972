"""A shard: consecutive blocks of a base model, with their masks and the states of a sequential sweep.

A batch runs through the shards of a chain in order. A shard keeps some state between calls, under a key: hidden states
of a sweep, and caches of decoding sessions.

Several threads may run batches in a shard at once, as long as no mask changes, no two threads use the same key, and no
part of the shard is on disk.

Functions that choose the masks and new weights of a block run in the process of its shard. They are sent there, so they
can be pickled, and their results contain no tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor

from mlprune.errors import ModelError, statistics_context
from mlprune.models.architecture.architecture import Architecture
from mlprune.models.block_ranges import EMBEDDINGS
from mlprune.models.inference.visitor import Result, ShardMessage, finish, run_blocks_in_step
from mlprune.models.masks.block_changes import BlockMasks, ReadChanges
from mlprune.models.masks.changed_embeddings import WithEmbeddings
from mlprune.models.messages import (
    ONLY_SQUARES,
    FittedOutput,
    SweepObservation,
    SweepStates,
    TokenBatch,
    WantedStatistics,
)
from mlprune.models.placement.budget import GroupLimit

if TYPE_CHECKING:
    from mlprune.models.inference.block_runner import BlockRunner
    from mlprune.models.masks.masking import MaskedBlocks
    from mlprune.models.placement.offloaded_parts import OffloadedParts
    from mlprune.models.sweep_states import ResidentStates

Extra = TypeVar("Extra")
LayerTensors = Mapping[str, Tensor]
"""Layer (or input of layers) -> tensor."""
SweepChoice = Callable[[LayerTensors, SweepObservation], tuple[BlockMasks, LayerTensors, Extra]]
"""Called with {layer: dense weight [out, in]} and the observation of the last `sweep_observe`.

Returns ({layer: keep mask, packed or not}, {layer: new weight [out, in]}, anything).
"""


class Shard:
    """Consecutive blocks of a model, loaded by `load_shard`.

    Args:
        runner: runs the blocks.
        masks: masks of the weights of these blocks.
        offloaded: parts of the shard that are on disk.
        sweep_states: hidden states of a sequential sweep.
        limit: memory limit of a group of batches; None if nothing is on disk.
    """

    def __init__(
        self,
        runner: BlockRunner,
        masks: MaskedBlocks,
        *,
        offloaded: OffloadedParts,
        sweep_states: ResidentStates,
        limit: GroupLimit | None,
    ) -> None:
        self.runner = runner
        self.masks = masks
        self._offloaded = offloaded
        self._sweep_states = sweep_states
        self._limit = limit

    @property
    def blocks(self) -> range:
        """The blocks of the shard."""
        return self.runner.blocks

    @property
    def n_blocks(self) -> int:
        """Number of blocks of the whole model."""
        return self.runner.n_blocks

    def architecture(self) -> Architecture:
        """Return the architecture of the whole model."""
        return self.runner.architecture

    # Passes through the blocks

    def group_limit(self) -> GroupLimit | None:
        """Return the memory limit of batches that run together; None if batches run one by one."""
        return self._limit

    def advance(self, messages: Sequence[ShardMessage[Result]]) -> list[ShardMessage[Result]]:
        """Run visitors through the blocks; return messages for the next shard, on the CPU.

        Raises: any error of a visitor.
        """
        run_blocks_in_step(self.runner, messages, self._offloaded.load)
        with torch.inference_mode():
            for message in messages:
                message.states = tuple(states.to(torch.device("cpu")) for states in message.states)
                message.visitor.leave_shard()
        return list(messages)

    def finish(self, messages: Sequence[ShardMessage[Result]]) -> list[Result]:
        """Run visitors through the blocks of the last shard; return their results.

        Raises: any error of a visitor.
        """
        run_blocks_in_step(self.runner, messages, self._offloaded.load)
        return finish(self.runner, messages, self._offloaded.load, one_by_one=bool(self._offloaded))

    def load(self, part: int) -> None:
        """Load a part that is on disk before it runs: `EMBEDDINGS`, a block, or n_blocks for final norm and head."""
        self._offloaded.load(part)

    def free_offloaded(self) -> None:
        """Free the parts that are on disk; they are read again when needed."""
        self._offloaded.clear()

    # Decoding sessions

    def begin_prefix(self, key: str) -> None:
        """Begin a decoding session that other sessions can continue."""
        self.runner.caches.begin_prefix(key)

    @torch.inference_mode()
    def continue_prefix(self, prefix: str, key: str, n_padding: Tensor) -> None:
        """Begin a session whose rows all start with the one row of another session.

        Args:
            prefix: key of that session, begun by `begin_prefix`.
            key: key of the new session.
            n_padding: [b] int64, positions by which each row is shifted right; it loses as many of its last tokens.
        """
        self.runner.caches.continue_prefix(prefix, key, n_padding)

    def end_session(self, key: str) -> None:
        """Drop the caches of a session, if there are any."""
        self.runner.caches.end(key)

    # Sequential sweep

    def sweep_start(self, key: Hashable, batch: TokenBatch) -> None:
        """Embed a batch and keep its states; for the first shard."""
        self.drop_kept_states()
        self._offloaded.load(EMBEDDINGS)
        self._sweep_states.start(key, batch)

    def sweep_observe(
        self,
        block: int,
        keys: Sequence[Hashable],
        *,
        with_products: bool = False,
        wanted: WantedStatistics = ONLY_SQUARES,
    ) -> None:
        """Run a block for its statistics only, and keep them for `sweep_prune`; the kept states remain those before it.

        Args:
            block: a block of this shard.
            keys: keys of the states.
            with_products: also sum x x^T over the counted tokens of all keys, in float64.
            wanted: what else is observed. If it advances, the kept states are those after the block.
        Raises:
            StatisticsError: a counted activation is not finite; block and input are named.
        """
        self._offloaded.load(block)
        self._sweep_states.observe(block, keys, with_products=with_products, wanted=wanted)

    def sweep_take_sums(self) -> Mapping[Hashable, LayerTensors]:
        """Remove and return the sums of the last `sweep_observe`, on the CPU, for the replica that prunes the block."""
        return self._sweep_states.take_sums()

    def sweep_add_sums(self, sums: Mapping[Hashable, LayerTensors]) -> None:
        """Add the sums of batches that another replica has observed; `sweep_prune` gets them, too."""
        self._sweep_states.add_sums(sums)

    @torch.inference_mode()
    def sweep_prune(self, block: int, choose: SweepChoice[Extra]) -> Extra:
        """Let a function choose the masks and new weights of a block from its dense weights and the last observation.

        They are applied, unless it raises, and the observation is dropped. A weight that its mask removes becomes 0.

        Returns: the third part of what the function returned. It travels to the caller, so it contains no tensors.
        Raises:
            ModelError: a layer does not exist.
            ShapeError: a mask or a weight does not fit.
        """
        self._offloaded.wait()
        masks, weights, extra = choose(self.masks.dense(block), self._sweep_states.take_observation())
        self.masks.set_block(block, masks, weights)
        return extra

    @torch.inference_mode()
    def sweep_write(self, block: int, write: Callable[[SweepObservation], Result]) -> Result:
        """Let a function write the last observation of a block, and drop it.

        Returns: what the function returned. It travels to the caller, so it contains no tensors.
        """
        with statistics_context(block=block):
            return write(self._sweep_states.take_observation())

    def sweep_fit(
        self,
        block: int,
        pairs: Sequence[tuple[Hashable, Hashable]],
        fit: Callable[[BlockRunner, Sequence[FittedOutput]], Result],
    ) -> Result:
        """Let a function fit the weights of a block to kept states; see `ResidentStates.fitted_outputs`.

        The function runs the block with other weights, and leaves the weights of the block as they are.

        Returns: what the function returned. It travels to the caller, so it contains no tensors.
        """
        self._offloaded.load(block)
        with statistics_context(block=block):
            return fit(self.runner, self._sweep_states.fitted_outputs(pairs))

    def with_whole(self, function: Callable[[Shard], Result]) -> Result:
        """Let a function of a capability use the shard, which has the whole model in memory.

        It leaves all blocks dense.

        Returns: what the function returned. It travels to the caller, so it contains no tensors.
        Raises:
            ModelError: blocks are in another shard, or on disk.
        """
        if len(self.blocks) < self.n_blocks or self._offloaded:
            got = f"{len(self.blocks)} of {self.n_blocks} blocks{', some on disk' if self._offloaded else ''}"
            message = "a job needs the whole model in the memory of one shard"
            raise ModelError(message, expected=self.n_blocks, got=got, next="compute.shards: 1, and more memory")
        self.drop_kept_states()
        try:
            return function(self)
        finally:
            self.set_keep_masks(None)

    def sweep_advance(self, block: int, keys: Sequence[Hashable]) -> None:
        """Run a block with its current weights, and keep the states after it."""
        self._offloaded.load(block)
        self._sweep_states.advance(block, keys)

    def sweep_release(self, key: Hashable) -> SweepStates:
        """Remove states and return them for the shard of the next block."""
        return self._sweep_states.release(key)

    def sweep_accept(self, key: Hashable, states: SweepStates) -> None:
        """Keep states that another shard released."""
        self._sweep_states.accept(key, states)

    def sweep_clear(self) -> None:
        """Drop all states and observations of a sweep."""
        self._sweep_states.clear()
        self.free_offloaded()

    def drop_states(self) -> None:
        """Drop the states of a sweep and of decoding sessions that an interrupted job left."""
        self.sweep_clear()
        self.drop_kept_states()
        for key in self.runner.caches.open_sessions:
            self.end_session(key)

    def plan_kept_states(self, limit_bytes: int, *, n_shared: int = 0) -> None:
        """Set how many states of scored batches are kept for later variants; see `KeptStates.plan`."""
        if self.runner.kept_states is not None:
            self.runner.kept_states.plan(limit_bytes, n_shared=n_shared)

    def drop_kept_states(self) -> None:
        """Drop the states of scored batches; see `KeptStates`."""
        if self.runner.kept_states is not None:
            self.runner.kept_states.clear()

    # Weights and masks

    @torch.inference_mode()
    def set_keep_masks(self, masks: Mapping[tuple[int, str], Tensor] | None) -> None:
        """Make all blocks dense, then zero what the masks remove; None leaves them dense.

        Args:
            masks: (block, layer) -> bool [out, in], True for weights to keep. Layers without a mask stay dense;
                masks of other shards' blocks are ignored.
        Raises:
            ModelError: a layer does not exist.
            ShapeError: a mask does not fit its weight.
        """
        self._offloaded.wait()
        self._set_embeddings({})
        self.masks.set_all(masks or {})

    @torch.inference_mode()
    def exchange_changes(self, read: ReadChanges, *, blocks: Sequence[int] | None = None) -> None:
        """Replace the masks and new weights of blocks of the shard by those of another variant.

        With all blocks, its embeddings are replaced, too.

        Args:
            read: returns the changes of a block; called once per block, possibly in several threads.
            blocks: the blocks to change; None: all blocks of the shard.
        Raises: any error of `read`, and
            ModelError: a block is not in this shard, or a layer does not exist.
            ShapeError: a mask or a weight does not fit.
        """
        self._offloaded.wait()
        if blocks is None and self.runner.embeddings.is_there:
            self._set_embeddings(read.embeddings() if isinstance(read, WithEmbeddings) else {})
        self.masks.exchange(read, blocks=blocks)

    def _set_embeddings(self, values: LayerTensors) -> None:
        if self.runner.embeddings.set(values):
            self.drop_kept_states()

    def set_shifts(self, shifts: Mapping[int, Tensor] | None) -> None:
        """Set vectors to add to the hidden states after some blocks, in every later pass; None removes them all.

        Args:
            shifts: block -> [d], any float dtype; blocks of other shards are ignored.
        """
        self.runner.set_shifts(shifts or {})

    def set_removed_tokens(self, removed: Tensor | None) -> None:
        """Set the tokens that get no probability in every later pass, bool [vocab]; None for the whole vocabulary."""
        if self.runner.is_last:
            self.runner.set_removed_tokens(removed)
