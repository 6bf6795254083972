"""A shard: consecutive blocks of a base model and what they are asked to do. Plain code, testable alone.

The first shard also embeds, the last also applies the final norm and the head. Work travels along a chain of shards:
each takes what the one before it returned. What stays resident between calls (states of a sequential sweep, caches of
a decoding session) is named by a key. Observing, masking, scoring and decoding are here; what the numbers mean is not.

Several threads may send work through a shard at once, as long as nobody changes masks, and no two the same key.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from mlprune.errors import StatisticsError
from mlprune.models.masking import MaskedBlocks
from mlprune.models.payloads import (
    DecodePart,
    DecodeStep,
    Observation,
    ObservationPart,
    Scores,
    ScoringBatch,
    ScoringPart,
    SweepPart,
    TokenBatch,
)
from mlprune.models.resident import ResidentStates
from mlprune.models.running import BlockRunner, leaving
from mlprune.numeric.likelihood import sliced_log_probs
from mlprune.numeric.statistics import hidden_magnitudes
from mlprune.terms import DtypeName

__all__ = ["DecodeStep", "Observation", "Scores", "ScoringBatch", "Shard", "TokenBatch"]


class Shard:
    """Blocks `blocks` of the model in a folder.

    Args:
        path: model folder.
        blocks: consecutive blocks, of the model's `n_blocks`.
        n_blocks: how many blocks the whole model has.
        dtype: of the weights and the arithmetic; statistics and scores are accumulated wider.
    Raises:
        ModelError: the folder is not one we read, or it has not these blocks.
    """

    def __init__(self, path: Path, blocks: range, *, n_blocks: int, dtype: DtypeName) -> None:
        self.blocks = blocks
        self.n_blocks = n_blocks
        self._runner = BlockRunner(path, blocks, n_blocks=n_blocks, dtype=dtype)
        self._masks = MaskedBlocks(self._runner.modules, self._runner.family, self._runner.stored)
        self._resident = ResidentStates(self._runner)
        self._caches: dict[str, DynamicCache] = {}

    # Observing the dense model

    @torch.inference_mode()
    def observe(self, payload: TokenBatch | ObservationPart) -> ObservationPart | Observation:
        """Run a batch through the own blocks and sum what their layers read.

        Raises:
            StatisticsError: a counted activation is not finite; the block is named.
        """
        part = self._first_observation(payload) if isinstance(payload, TokenBatch) else payload
        states, sums, magnitudes = self._runner.arrived(part.states), dict(part.sums), list(part.magnitudes)
        for block in self.blocks:
            after, block_sums = self._runner.step_observed(block, states, part.counted)
            sums |= {(block, name): tensor for name, tensor in block_sums.items()}
            magnitudes.append(_magnitudes(after.hidden, part.counted, n_blocks_run=block + 1))
            states = after
        if self._runner.is_last:
            return Observation(sums, torch.stack(magnitudes), part.counted.sum(dim=1))
        return ObservationPart(leaving(states), part.counted, sums, tuple(magnitudes))

    def _first_observation(self, batch: TokenBatch) -> ObservationPart:
        states = self._runner.embed(batch.token_ids, batch.attention_mask)
        return ObservationPart(states, batch.counted, {}, (_magnitudes(states.hidden, batch.counted, n_blocks_run=0),))

    # Sequential sweep

    def sweep_start(self, key: Hashable, batch: TokenBatch) -> None:
        """Embed a batch and keep its states; for the first shard."""
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
        return self._resident.observe(block, keys, with_products=with_products)

    def sweep_advance(self, block: int, keys: Sequence[Hashable]) -> None:
        """Run a block, as it is now, on resident states side by side, and keep the states behind it."""
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
        masks, weights, extra = function(self._masks.dense(block), self._resident.take_products(), *args)
        self._masks.set_block(block, masks, weights)
        return extra

    # Scoring

    @torch.inference_mode()
    def score(self, payload: ScoringBatch | ScoringPart) -> ScoringPart | Scores:
        """Run prefixes once and the suffixes on top of them; the last shard returns the scores."""
        cache = self._runner.new_cache()
        if isinstance(payload, ScoringBatch):
            batch = payload
            seen = torch.ones_like(batch.prefix_ids, dtype=torch.bool)
            prefix = self._runner.run(self._runner.embed(batch.prefix_ids, seen, cache=cache), cache)
            cache.batch_select_indices(batch.parent.to(self._runner.device))
            mask = torch.cat([seen[batch.parent], batch.suffix_mask], dim=1)
            suffix = self._runner.run(self._runner.embed(batch.suffix_ids, mask, cache=cache), cache)
        else:
            batch = payload.batch
            prefix = self._runner.run(self._runner.arrived(payload.prefix), cache)
            cache.batch_select_indices(batch.parent.to(self._runner.device))
            suffix = self._runner.run(self._runner.arrived(payload.suffix), cache)
        if self._runner.is_last:
            return self._scores(batch, prefix.hidden, suffix.hidden)
        return ScoringPart(batch, leaving(prefix), leaving(suffix))

    def _scores(self, batch: ScoringBatch, prefix: Tensor, suffix: Tensor) -> Scores:
        """Sums over the tokens of each text, from the hidden states [p, lp, d] and [n, ls, d] behind the last block."""
        within = self._log_probs(
            prefix[:, :-1], batch.prefix_ids[:, 1:], torch.ones_like(batch.prefix_ids[:, 1:]).bool()
        )
        last = prefix[:, -1:][batch.parent.to(prefix.device)]
        before = torch.cat([last, suffix[:, :-1].to(last.device)], dim=1)
        behind = self._log_probs(before, batch.suffix_ids, batch.suffix_mask)
        n_tokens = batch.prefix_ids.shape[1] - 1 + batch.suffix_mask.sum(dim=1)
        return Scores(within[batch.parent] + behind, n_tokens)

    def _log_probs(self, hidden: Tensor, targets: Tensor, mask: Tensor) -> Tensor:
        """[n] float64, on the CPU: summed log-probabilities of the targets [n, s] where the mask [n, s] is True."""
        picked = torch.zeros(mask.shape, dtype=torch.float64)
        if mask.any():
            head = self._runner.head
            states = self._runner.normed(hidden[mask.to(hidden.device)]).to(head.weight.device)
            wanted = targets[mask].to(head.weight.device)
            options = {"head_bias": head.bias, "softcap": self._runner.logit_softcap}
            picked[mask] = sliced_log_probs(states, head.weight, wanted, **options).double().cpu()
        return picked.sum(dim=1)

    # Greedy decoding

    @torch.inference_mode()
    def decode(self, payload: DecodeStep | DecodePart) -> DecodePart | Tensor:
        """Run the next tokens of a session on top of its caches; the last shard returns the likeliest, [b] int64.

        A cap of the logits does not change which is highest and is left out.
        """
        cache = self._caches.setdefault(payload.key, self._runner.new_cache())
        if isinstance(payload, DecodeStep):
            positions = (payload.attention_mask.long().cumsum(dim=1) - 1).clamp(min=0)
            positions = positions[:, -payload.token_ids.shape[1] :]
            states = self._runner.embed(payload.token_ids, payload.attention_mask, cache=cache, positions=positions)
        else:
            states = self._runner.arrived(payload.states)
        states = self._runner.run(states, cache)
        if not self._runner.is_last:
            return DecodePart(payload.key, leaving(states))
        logits: Tensor = self._runner.head(self._runner.normed(states.hidden[:, -1]))
        return logits.float().argmax(dim=1).cpu()

    def decode_end(self, key: str) -> None:
        """Forget the caches of a session."""
        self._caches.pop(key, None)


def _magnitudes(hidden: Tensor, counted: Tensor, *, n_blocks_run: int) -> Tensor:
    """[b, d] float32, on the CPU."""
    try:
        return hidden_magnitudes(hidden, counted).cpu()
    except StatisticsError as err:
        raise StatisticsError(err.message, err.context, n_blocks_run=n_blocks_run) from err
