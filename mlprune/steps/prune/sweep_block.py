"""Prune one block of a sweep in the process that has its weights, and write the files of the block there.

Weights, levels, masks and statistics do not leave that process; the job receives descriptions of the files.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mlprune.json_values import JsonObject
from mlprune.models.families.records import FAMILIES
from mlprune.models.messages import SweepObservation
from mlprune.numeric.activations.feature_sums import FeatureSums, feature_moments
from mlprune.numeric.activations.packed_triangle import mirrored
from mlprune.pruning.block_inputs import BlockInputs, SetStatistics, block_inputs
from mlprune.pruning.block_pruning import PruningMethod, pruned_block
from mlprune.pruning.feature_factors import (
    BlockStatistics,
    Factors,
    demonstration_weights,
    feature_factors,
    reads_means,
)
from mlprune.pruning.layer_refinement import RefinedVariant, refinement_tables
from mlprune.pruning.mask_files import mask_path, write_block_masks
from mlprune.pruning.scoring import LayerSparsities, PrunedBlock, keep_masks
from mlprune.pruning.weight_files import weights_path, write_block_weights
from mlprune.steps.observe.statistics_files import write_part
from mlprune.steps.prune.variant import Calibration, ScoredVariant
from mlprune.store.records import Artefact
from mlprune.store.store import Store

CONTRAST = "contrast"

Key = tuple[str, int]
"""(role, index of the batch) of the hidden states of a batch, which stay in the shards."""


@dataclass(frozen=True)
class SweptBatch:
    """A batch whose hidden states are in the shards."""

    demonstrations: tuple[int, ...]
    n_tokens: tuple[int, ...]
    """Counted tokens of each demonstration."""


Batches = Mapping[Key, SweptBatch]


@dataclass(frozen=True)
class SweptBlock:
    """What the record of a swept block contains."""

    files: tuple[Artefact, ...]
    rows: Mapping[str, Sequence[JsonObject]]
    """Table -> rows; empty without a refiner."""


@dataclass(frozen=True)
class BlockPruning:
    """The function that a shard calls to prune one block of a sweep; see `Shard.sweep_prune`. Picklable."""

    store_uri: str
    variant: ScoredVariant
    calibration: Calibration
    """The variant's own."""
    ordering_id: str
    block: int
    sparsities: LayerSparsities
    batches: Batches

    def __call__(
        self, weights: Mapping[str, Tensor], observation: SweepObservation
    ) -> tuple[Mapping[str, Tensor], Mapping[str, Tensor], SweptBlock]:
        """Choose masks and new weights and write masks, changed weights and statistics.

        Returns: keep masks, new weights, and the written files in this order with the rows of the record.
        """
        store, files = Store(self.store_uri), list[Artefact]()
        pruned = self._choose(weights, observation)
        files.append(write_block_masks(store, mask_path(self.ordering_id, self.block), pruned.levels))
        if self.variant.weights_changed:
            files.append(write_block_weights(store, weights_path(self.variant.id, self.block), pruned.weights))
        files += self._write_statistics(store, observation)
        refined = RefinedVariant(self.variant.id, self.calibration.set_ids)
        tables = refinement_tables(pruned.refinements, refined, block=self.block)
        return keep_masks(pruned.levels, level=0), pruned.weights, SweptBlock(tuple(files), tables)

    def _choose(self, weights: Mapping[str, Tensor], observation: SweepObservation) -> PrunedBlock:
        return pruned_block(
            weights,
            PruningMethod(self.variant.score, self.variant.refinement),
            sparsities=self.sparsities,
            inputs=self._inputs(observation),
            block=self.block,
            family=FAMILIES[self.variant.model.family],
        )

    def _inputs(self, observation: SweepObservation) -> BlockInputs:
        """Return the statistics that the variant reads."""
        if self.variant.reads_exact_products:
            return BlockInputs(products=observation.products)
        statistics = {role: _joined(observation, self.batches, role) for role in roles(self.calibration)}
        per_demonstration = reads_means(self.variant.score)
        factors = swept_factors(self.calibration, statistics, per_demonstration=per_demonstration)
        sets = [self._set_statistics(observation, role) for role in roles(self.calibration) if role != CONTRAST]
        return block_inputs(factors, sets, shares=self.calibration.selection.shares)

    def _set_statistics(self, observation: SweepObservation, role: str) -> SetStatistics:
        """Return what was observed of one set besides sums of squares."""
        products = {name: mirrored(matrix) for name, matrix in observation.products_of_sets.get(role, {}).items()}
        moments = {}
        if observation.feature_sums:
            keys = _keys_of(self.batches, role)
            n_tokens = torch.tensor([n for key in keys for n in self.batches[key].n_tokens])
            order = _order(self.batches, keys)
            weights = demonstration_weights(len(order), self.calibration.selection)
            for name in observation.feature_sums[keys[0]]:
                of_batches = [observation.feature_sums[key][name] for key in keys]
                sums = FeatureSums(
                    torch.cat([sums.sums for sums in of_batches])[order],
                    torch.cat([sums.deviations for sums in of_batches])[order],
                )
                moments[name] = feature_moments(sums, n_tokens[order], weights)
        return SetStatistics(moments, products, observation.gradients.get(role, {}))

    def _write_statistics(self, store: Store, observation: SweepObservation) -> Iterator[Artefact]:
        """Write one file per set, with the demonstrations in the order of the batches."""
        for role in roles(self.calibration):
            keys = _keys_of(self.batches, role)
            yield write_part(
                store,
                self.variant.id,
                self.block,
                role=role,
                demonstrations=[index for key in keys for index in self.batches[key].demonstrations],
                sums=_concatenated(observation, keys),
                n_tokens=torch.tensor([n for key in keys for n in self.batches[key].n_tokens]),
            )


def roles(calibration: Calibration) -> dict[str, str]:
    """Return role -> demonstration set. Roles are part of the names of statistics files; a single set has none."""
    several = len(calibration.set_ids) > 1
    named = {f"set-{n}" if several else "": set_id for n, set_id in enumerate(calibration.set_ids, start=1)}
    return named | ({CONTRAST: calibration.contrast_set_id} if calibration.contrast_set_id else {})


def swept_factors(
    calibration: Calibration, statistics: Mapping[str, BlockStatistics], *, per_demonstration: bool = False
) -> Factors:
    """Return the factors of a block's features from the statistics of all roles; see `feature_factors`."""
    sets = [statistics[role] for role in roles(calibration) if role != CONTRAST]
    against = statistics.get(CONTRAST)
    return feature_factors(sets, selection=calibration.selection, contrast=against, per_demonstration=per_demonstration)


def _joined(observation: SweepObservation, batches: Batches, role: str) -> BlockStatistics:
    """Return input -> [n, in] of one set, in the order of the demonstrations."""
    keys = _keys_of(batches, role)
    order = _order(batches, keys)
    return {name: rows[order] for name, rows in _concatenated(observation, keys).items()}


def _order(batches: Batches, keys: list[Key]) -> Tensor:
    """Return the positions of the demonstrations of a set in its batches."""
    return torch.tensor([index for key in keys for index in batches[key].demonstrations]).argsort()


def _concatenated(observation: SweepObservation, keys: list[Key]) -> dict[str, Tensor]:
    sums = [observation.sums[key] for key in keys]
    return {name: torch.cat([of_batch[name] for of_batch in sums]) for name in sums[0]}


def _keys_of(batches: Batches, role: str) -> list[Key]:
    return [key for key in batches if key[0] == role]
