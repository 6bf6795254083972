"""A shard: consecutive blocks of a base model and what they are asked to do. Plain code, testable alone.

The first shard also embeds, the last also applies the final norm and the head. Work travels along a chain of shards:
each takes what the one before it returned. What stays resident between calls (states of a sequential sweep, caches of
a decoding session) is named by a key. Observing, masking, scoring and decoding are here; what the numbers mean is not.

A shard with a memory budget may have parts that take turns in memory. Whatever is asked of it, the part concerned is
there when it is worked on, with its masks.

Several threads may send work through a shard at once, as long as nobody changes masks, no two the same key, and
nothing takes turns in it.
"""

from collections.abc import Callable, Generator, Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from mlprune.errors import ModelError
from mlprune.models.inference.averaging import adding_up
from mlprune.models.inference.block_batching import GroupLimit, group_limit, together
from mlprune.models.inference.block_runner import BEFORE, BlockRunner
from mlprune.models.inference.capturing import capturing
from mlprune.models.inference.neuron_counting import counting
from mlprune.models.inference.passes import decoding, observing
from mlprune.models.inference.prefix_scoring import scoring
from mlprune.models.masking import MaskedBlocks
from mlprune.models.messages import (
    ActiveNeurons,
    CaptureBatch,
    Captured,
    CapturePart,
    CountPart,
    DecodePart,
    DecodeStep,
    Observation,
    ObservationPart,
    ScoringBatch,
    ScoringPart,
    StateSums,
    SumPart,
    SweepPart,
    TokenBatch,
)
from mlprune.models.placement.block_cache import BlockCache
from mlprune.models.placement.memory_estimate import footprint
from mlprune.models.sweep_states import ResidentStates
from mlprune.numeric.inference.log_probs import TargetScores
from mlprune.vocabulary import DtypeName

__all__ = ["DecodeStep", "Observation", "ScoringBatch", "Shard", "TokenBatch"]


class Shard:
    """Blocks `blocks` of the model in a folder.

    Args:
        path: model folder.
        blocks: consecutive blocks, of the model's `n_blocks`.
        n_blocks: how many blocks the whole model has.
        dtype: of the weights and the arithmetic; statistics and scores are accumulated wider.
        memory_bytes: most that the process may hold, its base and its work included. Blocks that find no room are read
            from the checkpoint when their turn comes.
        working_bytes: part of it for the work (states, pruning); worked out from the model if not given.
    Raises:
        ModelError: the folder is not one we read, it has not these blocks, or the memory has no room for one of them.
    """

    def __init__(
        self,
        path: Path,
        blocks: range,
        *,
        n_blocks: int,
        dtype: DtypeName,
        memory_bytes: int | None = None,
        working_bytes: int | None = None,
    ) -> None:
        self.blocks = blocks
        self.n_blocks = n_blocks
        memory: dict[str, int | None] = {"memory_bytes": memory_bytes, "working_bytes": working_bytes}
        self._runner = BlockRunner(path, blocks, n_blocks=n_blocks, dtype=dtype, **memory)
        in_turns = self._runner.in_turns
        self._turns = BlockCache(self._read, self._runner.drop, window=self._runner.window) if in_turns else None
        self._masks = MaskedBlocks(
            self._runner.modules,
            self._runner.family,
            self._runner.stored,
            in_turns=[block for block in blocks if block in in_turns],
            is_here=lambda block: self._turns is None or self._turns.has(block),
        )
        self._limit = group_limit(footprint(path, dtype)) if in_turns else None
        self._resident = ResidentStates(self._runner)
        self._caches: dict[str, DynamicCache] = {}

    def group_limit(self) -> GroupLimit | None:
        """How much may go through the shard together, block by block; None where items go through one by one.

        Where parts take turns in memory, each is read once for a group: see `together`.
        """
        return self._limit

    def together(self, operation: str, payloads: Sequence[Any]) -> list[Any]:
        """What an operation (`observe`, `score`, `decode` and so on) returns for each of some payloads, in order.

        All go through a block before any goes through the next; the numbers are those of one payload at a time.

        Raises: what the operation raises.
        """
        begin: dict[str, Callable[[Any], Generator[int, None, Any]]] = {
            "observe": lambda payload: observing(self._runner, payload),
            "count_active": lambda payload: counting(self._runner, payload),
            "sum_states": lambda payload: adding_up(self._runner, payload),
            "score": lambda payload: scoring(self._runner, payload),
            "decode": lambda payload: decoding(self._runner, payload, self._cache(payload.key)),
            "capture": lambda payload: capturing(self._runner, payload),
        }
        if operation not in begin:
            raise ModelError("no operation that goes through the blocks", expected=sorted(begin), got=operation)
        alone = frozenset() if self._turns is None else frozenset({self._runner.behind})
        return together([begin[operation](payload) for payload in payloads], self._enter, alone=alone)

    def _enter(self, part: int) -> None:
        """Have a part of the model in memory, and the block behind it on its way."""
        if self._turns is None:
            return
        in_turns = self._runner.in_turns
        if part in self.blocks:
            behind = (block for block in in_turns if part < block < self.n_blocks)
            self._turns.enter(part if part in in_turns else None, then=min(behind, default=None))
        elif part in in_turns:
            self._turns.enter(part)

    def _read(self, part: int) -> None:
        self._runner.read(part)
        if part in self.blocks:
            with torch.inference_mode(False):
                self._masks.restore(part)

    def _settle(self) -> None:
        """Nothing is read while masks change."""
        if self._turns is not None:
            self._turns.settle()

    def rest(self) -> None:
        """Let go of what takes turns; it is read again when it is needed."""
        if self._turns is not None:
            self._turns.clear()

    # Observing the dense model

    def observe(self, payload: TokenBatch | ObservationPart) -> ObservationPart | Observation:
        """Run a batch through the own blocks and sum what their layers read.

        Raises:
            StatisticsError: a counted activation is not finite; the block is named.
        """
        found: ObservationPart | Observation = self.together("observe", [payload])[0]
        return found

    def count_active(self, payload: TokenBatch | CountPart) -> CountPart | ActiveNeurons:
        """Run a batch through the own blocks and count how often each feed-forward neuron fires.

        Raises:
            StatisticsError: a counted activation is not finite; the block is named.
        """
        found: CountPart | ActiveNeurons = self.together("count_active", [payload])[0]
        return found

    def sum_states(self, payload: TokenBatch | SumPart) -> SumPart | StateSums:
        """Run a batch through the own blocks and add its hidden states up behind each.

        Raises:
            StatisticsError: a counted state is not finite; the block is named.
        """
        found: SumPart | StateSums = self.together("sum_states", [payload])[0]
        return found

    def capture(self, payload: CaptureBatch | CapturePart) -> CapturePart | Captured:
        """Run a batch through the own blocks and keep what chosen layers read, see `capturing`.

        Raises:
            StatisticsError: a counted activation is not finite; block and input are named.
        """
        found: CapturePart | Captured = self.together("capture", [payload])[0]
        return found

    # Sequential sweep

    def sweep_start(self, key: Hashable, batch: TokenBatch) -> None:
        """Embed a batch and keep its states; for the first shard."""
        self._enter(BEFORE)
        self._resident.start(key, batch)

    def sweep_observe(
        self, block: int, keys: Sequence[Hashable], with_products: bool = False
    ) -> dict[Hashable, dict[str, Tensor]]:
        """Run a block on resident states for its statistics only; the states stay before the block.

        Args:
            block: one of the own.
            keys: of the states, worked on side by side; results are in their order.
            with_products: also sum x x^T over the counted tokens of all keys, for `rewrite_block`.
        Returns: key -> input -> [b, in] float32.
        Raises:
            StatisticsError: a counted activation is not finite; block and input are named.
        """
        self._enter(block)
        return self._resident.observe(block, keys, with_products=with_products)

    def sweep_advance(self, block: int, keys: Sequence[Hashable]) -> None:
        """Run a block, as it is now, on resident states side by side, and keep the states behind it."""
        self._enter(block)
        self._resident.advance(block, keys)

    def sweep_release(self, key: Hashable) -> SweepPart:
        """Give resident states away, to the shard of the next block."""
        return self._resident.release(key)

    def sweep_accept(self, key: Hashable, payload: SweepPart) -> None:
        """Take over states that another shard released."""
        self._resident.accept(key, payload)

    def sweep_clear(self) -> None:
        """Forget all resident states and products."""
        self._resident.clear()
        self.rest()

    # Weights and masks

    @torch.inference_mode()
    def set_keep_masks(self, masks: Mapping[tuple[int, str], Tensor] | None) -> None:
        """Make the own blocks dense, then zero what the masks remove; None leaves them dense.

        Args:
            masks: (block, layer) -> bool [out, in], True where the weight stays. Layers without a mask stay dense,
                masks of other shards' blocks are passed over.
        Raises:
            ModelError: a layer does not exist.
            ShapeError: a mask does not fit its weight.
        """
        self._settle()
        self._masks.set_all(masks or {})

    @torch.inference_mode()
    def prune_block(self, block: int, function: Callable[..., tuple[Mapping[str, Tensor], Any]], *args: Any) -> Any:
        """Let a function choose the masks of a block from its dense weights, and put them on.

        If it raises, the block stays dense.

        Args:
            block: one of the own.
            function: called with {layer: dense weight [out, in]} and `args`; returns ({layer: keep mask}, anything).
            args: for the function.
        Returns: the second part of what the function returned.
        Raises:
            ModelError: a layer does not exist.
            ShapeError: a mask does not fit its weight.
        """
        self._settle()
        masks, extra = function(self._masks.dense(block), *args)
        self._masks.set_block(block, masks)
        return extra

    @torch.inference_mode()
    def rewrite_block(
        self, block: int, function: Callable[..., tuple[Mapping[str, Tensor], Mapping[str, Tensor], Any]], *args: Any
    ) -> Any:
        """Let a function choose masks and new weights of a block, put them in place, and forget the products.

        The dense weights come back as behind a mask. If the function raises, the block stays dense.

        Args:
            block: one of the own.
            function: called with {layer: dense weight [out, in]}, {input: sum of x x^T [in, in] float64} as the last
                `sweep_observe` left them (empty without) and `args`; returns ({layer: keep mask}, {layer: new weight
                [out, in]}, anything). A weight that its mask removes becomes 0, whatever the new weight says.
            args: for the function.
        Returns: the third part of what the function returned.
        Raises:
            ModelError: a layer does not exist.
            ShapeError: a mask or a weight does not fit.
        """
        self._settle()
        masks, weights, extra = function(self._masks.dense(block), self._resident.take_products(), *args)
        self._masks.set_block(block, masks, weights)
        return extra

    def set_shifts(self, shifts: Mapping[int, Tensor] | None) -> None:
        """From now on, add vectors to the hidden states behind some blocks, whatever runs; None: add none.

        Args:
            shifts: block -> [d], any float dtype; blocks of other shards are passed over.
        """
        self._runner.set_shifts(shifts or {})

    # Scoring

    def score(self, payload: ScoringBatch | ScoringPart) -> ScoringPart | TargetScores:
        """Run shared beginnings once and what continues them behind; the last shard returns the scores."""
        found: ScoringPart | TargetScores = self.together("score", [payload])[0]
        return found

    # Greedy decoding

    def decode(self, payload: DecodeStep | DecodePart) -> DecodePart | Tensor:
        """Run the next tokens of a session on top of its caches; the last shard returns the likeliest, [b] int64."""
        found: DecodePart | Tensor = self.together("decode", [payload])[0]
        return found

    def decode_begin(self, key: str) -> None:
        """Begin a session whose keys and values are all kept, for others to go on behind it."""
        self._caches[key] = DynamicCache()

    @torch.inference_mode()
    def decode_behind(self, head: str, key: str, n_padding: Tensor) -> None:
        """Begin a session in which every row has seen the one row of another, `decode_begin`'s.

        Args:
            n_padding: [b] int64, places by which a row begins later; as many of its last tokens are left out.
        """
        self._caches[key] = self._runner.moved(self._caches[head], n_padding)

    def decode_end(self, key: str) -> None:
        """Forget the caches of a session."""
        self._caches.pop(key, None)

    def _cache(self, key: str) -> DynamicCache:
        if key not in self._caches:
            self._caches[key] = self._runner.new_cache()
        return self._caches[key]
