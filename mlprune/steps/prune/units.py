"""Remove heads and neurons after FLAP: choose them from stored statistics, write masks and biases."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from mlprune.errors import StatisticsError
from mlprune.json_values import JsonObject, Row
from mlprune.methods import FlapParameters, checked_parameters
from mlprune.models.architecture.architecture import Architecture, oriented
from mlprune.models.architecture.units import Shapes, UnitLayout, unit_layouts
from mlprune.models.checkpoint.weight_files import (
    DTYPES,
    WeightFiles,
    architecture_at,
    bias_name,
    read_json_object,
    weight_name,
)
from mlprune.models.placement.memory_estimate import Footprint
from mlprune.numeric.structured import UnitGroup, compensated_bias, feature_scores, removed_units, unit_scores
from mlprune.numeric.weights.layer_inputs import FeatureMoments
from mlprune.processes.job_parts import finished_parts
from mlprune.processes.parallel import parallel_map
from mlprune.pruning.mask_files import biases_path, mask_path, write_block_masks, write_block_weights
from mlprune.pruning.scoring import BlockLevels, described_levels
from mlprune.pruning.spec import ScoreSpec
from mlprune.steps.job import ChainLoader, Identity, Job, JobCost, ModelRef, RecordKey, SetSizes, most_demonstrations
from mlprune.steps.prune.ordering import LEVEL_BYTES, MethodCost, Ordering, stored_inputs
from mlprune.steps.variants.scored_variant import ScoredVariant, block_identity
from mlprune.steps.variants.variant_rows import write_variants
from mlprune.store.records import Record
from mlprune.store.store import Store

ReadMoments = Callable[[int], Mapping[str, FeatureMoments]]
"""Returns input -> its moments in a block."""


@dataclass(frozen=True)
class UnitModel:
    """The files of a base model, as units are chosen from them."""

    model: ModelRef

    @cached_property
    def architecture(self) -> Architecture:
        """The architecture of the model."""
        return architecture_at(self.model.path)

    @cached_property
    def files(self) -> WeightFiles:
        """The weight files."""
        return WeightFiles(Path(self.model.path), self.architecture)

    @cached_property
    def config(self) -> JsonObject:
        """The config."""
        return read_json_object(Path(self.model.path) / "config.json")

    def shapes(self, block: int) -> Shapes:
        """Return layer -> (out, in)."""
        return self.files.layer_shapes(block)

    def layouts(self, block: int) -> tuple[UnitLayout, ...]:
        """Return the heads and the neurons of a block."""
        return unit_layouts(self.architecture.block(block), self.shapes(block), self.config)

    def weight(self, block: int, layer: str) -> Tensor:
        """Return the dense weight of a layer, [out, in], in the dtype of the run."""
        weight = self.files.read(weight_name(self.architecture, block, layer), DTYPES[self.model.dtype])
        return oriented(weight, self.architecture.block(block))

    def bias(self, block: int, layer: str) -> Tensor | None:
        """Return the dense bias of a layer, [out]; None if it has none."""
        name = bias_name(self.architecture, block, layer)
        return self.files.read(name, DTYPES[self.model.dtype]) if self.files.has(name) else None


@dataclass(frozen=True)
class RemovedUnits:
    """The units of one kind in one block, and which of them are removed."""

    layout: UnitLayout
    removed: Tensor
    """[n_units] bool."""


def chosen_units(
    files: UnitModel, score: ScoreSpec, *, sparsity: float, read_moments: ReadMoments
) -> tuple[tuple[RemovedUnits, ...], ...]:
    """Return, per block, the heads and neurons that are removed.

    Args:
        sparsity: share of the prunable weights of the model.
    Raises:
        StatisticsError: a block has no moments, or they are impossible.
    """
    parameters = checked_parameters(score.score_parameters, FlapParameters)
    groups, layouts = [], []
    for block in range(files.model.n_blocks):
        moments = read_moments(block)
        for layout in files.layouts(block):
            of_layer = moments_of(moments, files.architecture.block(block).input_of(layout.output), block=block)
            features = feature_scores(files.weight(block, layout.output), of_layer)
            power = parameters.head_power if layout.kind == "heads" else 1.0
            units = unit_scores(features, layout.columns, n_units=layout.n_units, power=power)
            groups.append(UnitGroup(block, layout.kind, units, layout.unit_weights))
            layouts.append(layout)
    chosen = removed_units(groups, sparsity, equal_widths=parameters.equal_widths)
    by_block: list[list[RemovedUnits]] = [[] for _ in range(files.model.n_blocks)]
    for group, layout, removed in zip(groups, layouts, chosen, strict=True):
        by_block[group.block].append(RemovedUnits(layout, removed))
    return tuple(map(tuple, by_block))


def moments_of(moments: Mapping[str, FeatureMoments], name: str, *, block: int) -> FeatureMoments:
    """Return the moments of an input.

    Raises:
        StatisticsError: there are none.
    """
    if name not in moments:
        raise StatisticsError("score flap reads sums of features, and there are none", block=block, input=name)
    return moments[name]


def unit_levels(files: UnitModel, units: tuple[RemovedUnits, ...], *, block: int, sparsity: float) -> BlockLevels:
    """Return layer -> its mask as levels 0 (removed) and 1 (kept), in the block's order."""
    shapes = files.shapes(block)
    masks = {layer: mask for one in units for layer, mask in one.layout.keep_masks(one.removed, shapes).items()}
    kept = {layer: torch.ones(shape, dtype=torch.bool) for layer, shape in shapes.items()}
    return {layer: described_levels(mask.to(torch.uint8), (sparsity,)) for layer, mask in {**kept, **masks}.items()}


def new_biases(
    files: UnitModel, units: tuple[RemovedUnits, ...], *, block: int, read_moments: ReadMoments
) -> dict[str, Tensor]:
    """Return layer -> the bias that contains the means of removed inputs, for layers with removed inputs.

    A layer without a bias gets one, in the dtype of its weight.
    """
    biases = {}
    for one in units:
        layer, removed = one.layout.output, one.removed[one.layout.columns]
        if bool(removed.any()):
            weight, dense = files.weight(block, layer), files.bias(block, layer)
            bias = weight.new_zeros(weight.shape[0]) if dense is None else dense
            moments = moments_of(read_moments(block), files.architecture.block(block).input_of(layer), block=block)
            biases[layer] = compensated_bias(weight, bias, removed=removed, moments=moments)
    return biases


def units_cost(step: str, sizes: Footprint, *, method: MethodCost) -> JobCost:
    """Cost of choosing heads and neurons of all blocks and writing their masks, block by block.

    Args:
        method: of the variant; every thread reads the statistics of its block.
    """
    further_bytes = max(sizes.prunable) * (8 + LEVEL_BYTES) + method.fixed_bytes(sizes)
    return JobCost.per_block(step, sizes, 2 * LEVEL_BYTES, further_bytes=further_bytes, writes_masks=True)


@dataclass(frozen=True)
class UnitsJob(Job):
    """Choose the heads and neurons of a variant over all blocks, and write its masks and biases."""

    step: ClassVar[str] = "prune"
    identity: Identity
    """Of the ordering, which has one level."""
    variant: ScoredVariant
    ordering: Ordering

    @property
    def makes(self) -> tuple[RecordKey, ...]:
        """The ordering and the variant."""
        return (self.identity.key, self.variant.identity.key)

    @property
    def needs(self) -> tuple[RecordKey, ...]:
        """Statistics."""
        return self.ordering.needs

    @property
    def artefact_record(self) -> RecordKey | None:
        """The ordering, which has the masks."""
        return self.identity.key

    def cost(self, sizes: Footprint, sets: SetSizes) -> JobCost:
        """All blocks, one per thread."""
        needs = tuple(name for name, _ in self.ordering.observations)
        method = MethodCost(needs, len(self.ordering.statistics), n_demonstrations=most_demonstrations(sets))
        return units_cost(self.step, sizes, method=method)

    def run(self, store: Store, chain: ChainLoader) -> None:
        """Choose the units, write the files of all blocks, then the records."""
        files, read_moments = UnitModel(self.variant.model), moments_reader(store, self.ordering)
        score, sparsity = self.variant.score, self.variant.sparsity
        units = chosen_units(files, score, sparsity=sparsity, read_moments=read_moments)
        removes = any(bool(one.removed.any()) for of_block in units for one in of_block)
        compensates = score.compensates and removes

        def write(block: int) -> Record:
            levels = unit_levels(files, units[block], block=block, sparsity=sparsity)
            artefacts = [write_block_masks(store, mask_path(self.identity.id, block), levels)]
            if compensates:
                biases = new_biases(files, units[block], block=block, read_moments=read_moments)
                artefacts.append(write_block_weights(store, biases_path(self.variant.id, block), biases))
            identity = block_identity(self.identity.id, block, parents={"variant": self.variant.id})
            return identity.record(artefacts=tuple(artefacts))

        n_blocks = self.variant.model.n_blocks
        blocks = list(finished_parts("block", n_blocks, parallel_map(write, range(n_blocks))))
        columns: Row = {"biases_changed": True} if compensates else {}
        rows = {"pruned_units": unit_rows(self.variant.id, units)}
        write_variants(store, self.identity, blocks, (self.variant,), columns=columns, rows=rows)


def moments_reader(store: Store, ordering: Ordering) -> ReadMoments:
    """Return the function that reads the moments of a block."""
    return lambda block: stored_inputs(store, ordering, block=block).moments


def units_rebuilder(store: Store, variant: ScoredVariant, ordering: Ordering) -> Callable[[int], BlockLevels]:
    """Return the function that makes the levels of a block of a variant again."""
    files = UnitModel(variant.model)
    read_moments = moments_reader(store, ordering)
    units = chosen_units(files, variant.score, sparsity=variant.sparsity, read_moments=read_moments)
    return lambda block: unit_levels(files, units[block], block=block, sparsity=variant.sparsity)


def unit_rows(variant_id: str, units: tuple[tuple[RemovedUnits, ...], ...]) -> list[Row]:
    """Return the rows of table `pruned_units`."""
    return [
        {
            "variant_id": variant_id,
            "block": block,
            "kind": one.layout.kind,
            "n_units": one.layout.n_units,
            "n_removed": int(one.removed.sum()),
        }
        for block, of_block in enumerate(units)
        for one in of_block
    ]
