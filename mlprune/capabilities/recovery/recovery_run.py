"""The part of a recovery that runs in the shard with the whole model.

It first runs all demonstrations dense, and keeps the final states. Then it has the weights of the parent, which `fit`
optimises. At last it writes masks and new weights.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from mlprune.capabilities.recovery.checkpoint import CheckpointFile
from mlprune.capabilities.recovery.fit import LayerKey, Recovered, Recoverer, SetPart, split_set
from mlprune.capabilities.recovery.passes import Passes, Text
from mlprune.capabilities.recovery.variant import RecoveredVariant
from mlprune.capabilities.recovery.weights import FullWeight, LowRankWeight, TrainedWeight
from mlprune.corpus.calibration import counted_tokens
from mlprune.errors import CorpusError, StatisticsError
from mlprune.json_values import Row
from mlprune.models.masks.block_changes import BlockChanges
from mlprune.models.masks.masking import RemovedBlock
from mlprune.models.shard import Shard
from mlprune.numeric.masks.packed_masks import keep_all
from mlprune.numeric.weights.adamw import root_mean_squares
from mlprune.processes.job_parts import job_parts
from mlprune.pruning.mask_files import (
    StoredChanges,
    biases_path,
    mask_path,
    weights_path,
    write_block_masks,
    write_block_weights,
)
from mlprune.pruning.scoring import described_levels
from mlprune.steps.variants.variant_rows import WithoutBlocks
from mlprune.store.records import Artefact
from mlprune.store.store import Store


@dataclass(frozen=True)
class Written:
    """What the records of a recovered variant contain. Has no tensors."""

    files: tuple[tuple[Artefact, ...], ...]
    """Of each block: masks, new weights, and biases if there are some."""
    rows: tuple[Row, ...]
    """Of table `recovery_losses`."""


@dataclass(frozen=True)
class RecoveryRun:
    """The function that a shard calls to recover a variant; see `Shard.with_whole`. Picklable."""

    store_uri: str
    variant: RecoveredVariant
    ordering_id: str
    parent: StoredChanges | None
    """The changes of the parent; None if it is dense."""
    checkpoint: int
    """Steps after which a checkpoint is written."""

    def __call__(self, shard: Shard) -> Written:
        """Optimise the kept weights; write masks, new weights, and the biases of the parent if it has some.

        Raises:
            StatisticsError: a loss is not finite; nothing stays behind.
        """
        store, settings = Store(self.store_uri), self.variant.settings
        texts, parts, held_out = self._texts(store)
        removed = self.parent.removed if isinstance(self.parent, WithoutBlocks) else frozenset()
        passes = Passes(shard.runner, texts, settings=settings, skipped=removed)
        shard.set_keep_masks(None)
        passes.keep_dense_states()
        changes = self._changes(shard, passes)
        shard.exchange_changes({**changes, **dict.fromkeys(removed, RemovedBlock())}.__getitem__)
        keeps = {
            (block, layer): of_block.masks[layer].unpack(weight.device)
            for block, of_block in changes.items()
            if block not in removed
            for layer, weight in of_block.weights.items()
        }
        recoverer = Recoverer(passes, self._weights(passes, keeps), parts=parts, held_out=held_out, settings=settings)
        file = CheckpointFile(store, self.variant.id)
        try:
            with job_parts("part", settings.steps) as done:
                recovered = recoverer.run(file, every=self.checkpoint, done=done)
        except StatisticsError:
            file.remove()
            raise
        files = tuple(
            self._write(store, block, changes=of_block, recovered=recovered) for block, of_block in changes.items()
        )
        return Written(files, tuple({"variant_id": self.variant.id, **row} for row in recovered.rows))

    def _texts(self, store: Store) -> tuple[list[Text], list[SetPart], list[SetPart]]:
        """Return the texts of all sets, and the parts of each set to optimise on and to measure.

        Raises:
            CorpusError: a part has no prediction that counts.
        """
        texts: list[Text] = []
        parts: tuple[list[SetPart], list[SetPart]] = [], []
        for set_id, share in zip(self.variant.set_ids, self.variant.shares, strict=True):
            table = store.read_table(store.require("demonstration_sets", set_id).artefacts[0])
            counted = counted_tokens(table, self.variant.settings.tokens)
            of_set = [Text.of(*pair) for pair in zip(table["token_ids"], counted, strict=True)]
            for part, chosen in zip(parts, split_set(len(of_set), seed=self.variant.settings.seed), strict=True):
                n_positions = sum(len(of_set[number].positions) for number in chosen)
                if not n_positions:
                    expected = "two or more demonstrations with two or more tokens, of which the last ones count"
                    message = "a part of a set has no prediction to recover"
                    raise CorpusError(message, demonstration_set_id=set_id, expected=expected, got=len(of_set))
                part.append(SetPart(set_id, share, tuple(len(texts) + number for number in chosen), n_positions))
            texts += of_set
        return texts, *parts

    def _changes(self, shard: Shard, passes: Passes) -> dict[int, BlockChanges]:
        """Return the changes of each block with a mask and a weight of every layer; a removed block has no weight.

        So the block is known to have new weights, whatever is written into them.
        """
        found = {}
        for block in shard.blocks:
            changes = self.parent(block) if self.parent else BlockChanges({})
            layers = shard.architecture().block(block).layers
            weights = {layer: changes.weights.get(layer, passes.weight(block, layer)) for layer in layers}
            if isinstance(changes, RemovedBlock):
                weights = {layer: torch.zeros_like(weight) for layer, weight in weights.items()}
                changes = BlockChanges.of({layer: weight.bool() for layer, weight in weights.items()})
            masks = {layer: changes.masks.get(layer, keep_all(_shape(weight))) for layer, weight in weights.items()}
            found[block] = replace(changes, masks=masks, weights=weights)
        return found

    def _weights(self, passes: Passes, keeps: Mapping[LayerKey, Tensor]) -> dict[LayerKey, TrainedWeight]:
        settings, found = self.variant.settings, {}
        current = {f"{block}/{layer}": passes.weight(block, layer) for block, layer in keeps}
        scales = root_mean_squares(current, {f"{block}/{layer}": keep for (block, layer), keep in keeps.items()})
        for (block, layer), keep in keeps.items():
            name = f"{block}/{layer}"
            make: Callable[..., TrainedWeight] = FullWeight
            if settings.rank is not None:
                make = partial(LowRankWeight, rank=settings.rank, draw=f"{settings.seed} {name}")
            found[block, layer] = make(current[name], ~keep, scale=scales[name])
        return found

    def _write(self, store: Store, block: int, *, changes: BlockChanges, recovered: Recovered) -> tuple[Artefact, ...]:
        """Write the files of a block; without a better state, it has the new weights of the parent, if any."""
        of_parent = self.parent(block) if self.parent else BlockChanges({})
        sparsities = (self.variant.sparsity,)
        levels = {layer: described_levels(mask.unpack().byte(), sparsities) for layer, mask in changes.masks.items()}
        weights = of_parent.weights
        if recovered.weights:
            weights = {layer: recovered.weights.get((block, layer), zero) for layer, zero in changes.weights.items()}
        files = [
            write_block_masks(store, mask_path(self.ordering_id, block), levels),
            write_block_weights(store, weights_path(self.variant.id, block), weights),
        ]
        if self.parent and self.parent.biases:
            files.append(write_block_weights(store, biases_path(self.variant.id, block), changes.biases))
        return tuple(files)


def _shape(weight: Tensor) -> tuple[int, int]:
    n_out, n_in = weight.shape
    return n_out, n_in
