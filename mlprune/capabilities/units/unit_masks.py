"""Remove heads and neurons after FLAP: choose them from stored statistics, write masks and biases."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path

import torch
from torch import Tensor

from mlprune.capabilities.units.flap import UnitGroup, compensated_bias, feature_scores, removed_units, unit_scores
from mlprune.errors import ModelError, RecipeError, StatisticsError
from mlprune.json_values import JsonObject, Row, as_int
from mlprune.methods import FlapParameters, checked_parameters
from mlprune.models.architecture.architecture import Architecture, oriented
from mlprune.models.architecture.units import (
    Shapes,
    UnitLayout,
    require_neurons,
    require_separable_heads,
    unit_layouts,
)
from mlprune.models.checkpoint.weight_files import (
    DTYPES,
    WeightFiles,
    architecture_at,
    bias_name,
    read_json_object,
    weight_name,
)
from mlprune.models.placement.memory_estimate import Footprint
from mlprune.numeric.weights.layer_inputs import FeatureMoments
from mlprune.pruning.mask_files import biases_path, write_block_weights
from mlprune.pruning.scoring import BlockLevels, described_levels
from mlprune.pruning.spec import ScoreSpec
from mlprune.recipe.models import Recipe
from mlprune.steps.inputs import Inputs
from mlprune.steps.job import ChainLoader, Identity, Job, JobCost, ModelRef, RecordKey, SetSizes, most_demonstrations
from mlprune.steps.prune.mask_jobs import ordering_identity, planned_ordering
from mlprune.steps.prune.ordering import LEVEL_BYTES, MethodCost, Ordering, stored_inputs
from mlprune.steps.prune.structure_variants import StructureVariants
from mlprune.steps.variants.masks_job import MasksJob
from mlprune.steps.variants.planned_variant import PlannedVariant
from mlprune.steps.variants.scored_variant import ScoredVariant, scored_variant
from mlprune.steps.variants.variant_rows import write_variants
from mlprune.store.records import Artefact, Record
from mlprune.store.store import Store

ReadMoments = Callable[[int], Mapping[str, FeatureMoments]]
"""Returns input -> its moments in a block."""
UnitsOfBlocks = tuple[tuple["RemovedUnits", ...], ...]
"""The units of every kind, for each block."""


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


def chosen_units(files: UnitModel, score: ScoreSpec, *, sparsity: float, read_moments: ReadMoments) -> UnitsOfBlocks:
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


def unit_levels(files: UnitModel, units: UnitsOfBlocks, block: int, *, sparsity: float) -> BlockLevels:
    """Return layer -> its mask as levels 0 (removed) and 1 (kept), in the block's order."""
    shapes = files.shapes(block)
    masks = {layer: mask for one in units[block] for layer, mask in one.layout.keep_masks(one.removed, shapes).items()}
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
class UnitsJob(MasksJob):
    """Choose the heads and neurons of a variant over all blocks, and write its masks and biases."""

    variant: ScoredVariant
    inputs: Ordering
    """The variant alone, and what it reads."""

    @property
    def needs(self) -> tuple[RecordKey, ...]:
        """Statistics."""
        return self.inputs.needs

    def cost(self, sizes: Footprint, sets: SetSizes) -> JobCost:
        """All blocks, one per thread."""
        needs = tuple(name for name, _ in self.inputs.observations)
        method = MethodCost(needs, len(self.inputs.statistics), n_demonstrations=most_demonstrations(sets))
        return units_cost(self.step, sizes, method=method)

    def run(self, store: Store, chain: ChainLoader) -> None:
        """Choose the units, write the files of all blocks, then the records."""
        files, read_moments = UnitModel(self.variant.model), moments_reader(store, self.inputs)
        units = chosen_units(files, self.variant.score, sparsity=self.variant.sparsity, read_moments=read_moments)
        removes = any(bool(one.removed.any()) for of_block in units for one in of_block)
        compensates = self.variant.score.compensates and removes

        def write_biases(block: int) -> tuple[Artefact, ...]:
            if not compensates:
                return ()
            biases = new_biases(files, units[block], block=block, read_moments=read_moments)
            return (write_block_weights(store, biases_path(self.variant.id, block), biases),)

        levels_of = partial(unit_levels, files, units, sparsity=self.variant.sparsity)
        blocks = self.write_masks(store, levels_of, further=write_biases)
        columns: Row = {"biases_changed": True} if compensates else {}
        rows = {"pruned_units": unit_rows(self.variant.id, units)}
        write_variants(store, self.ordering, blocks, (self.variant,), columns=columns, rows=rows)


def moments_reader(store: Store, ordering: Ordering) -> ReadMoments:
    """Return the function that reads the moments of a block."""
    return lambda block: stored_inputs(store, ordering, block=block).moments


def unit_rows(variant_id: str, units: UnitsOfBlocks) -> list[Row]:
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


def lacks_biases(model: ModelRef) -> bool:
    """Whether a layer after heads or neurons has no bias in the model's files."""
    architecture = architecture_at(model.path)
    files = WeightFiles(Path(model.path), architecture)
    after_units = (
        (block, layer) for block in range(architecture.n_blocks) for layer in architecture.block(block).after_units
    )
    return not all(files.has(bias_name(architecture, *key)) for key in after_units)


class UnitVariants(StructureVariants[ScoredVariant]):
    """Variants of structure `units`."""

    def planned(self, variant: ScoredVariant) -> ScoredVariant:
        """Return the variant, whose id says whether layers get biases that they lack.

        Raises:
            RecipeError: single heads or neurons of the model cannot be removed.
        """
        if variant.sparsity:
            _check_model(architecture_at(variant.model.path))
        if not (variant.score.compensates and lacks_biases(variant.model)):
            return variant
        parameters = {**variant.identity.parameters, "adds_biases": True}  # earlier versions left the compensation out
        return replace(variant, identity=replace(variant.identity, parameters=parameters))

    def jobs(self, recipe: Recipe, inputs: Inputs, *, planned: PlannedVariant, variant: ScoredVariant) -> Iterator[Job]:
        """Yield the job that makes the variant; the statistics are among what is observed."""
        ordering = planned_ordering(recipe, inputs, planned, variant, None)
        yield UnitsJob(ordering_identity(ordering, variant, (variant.sparsity,)), variant, ordering)

    def rebuilder(
        self, store: Store, identity: Identity, model: ModelRef, *, ordering: Record
    ) -> Callable[[int], BlockLevels]:
        """Return a function that makes the levels of a block again, from the stored statistics."""
        variant, files = scored_variant(identity, model), UnitModel(model)
        read_moments = moments_reader(store, Ordering.of_record(ordering, variant))
        units = chosen_units(files, variant.score, sparsity=variant.sparsity, read_moments=read_moments)
        return partial(unit_levels, files, units, sparsity=variant.sparsity)

    def largest_step(self, variant: Record, layers: Sequence[JsonObject]) -> float:
        """Return a bound on the number of weights that are removed together: a unit, or one of every block."""
        units = variant.rows["pruned_units"]
        sizes = [
            sum(as_int(one["n_weights"]) for one in layers if one["block"] == row["block"]) // as_int(row["n_units"])
            for row in units
        ]
        parameters = ScoreSpec.from_parameters(variant.parameters).score_parameters
        is_equal = checked_parameters(parameters, FlapParameters).equal_widths
        return max(sizes) * (len({row["block"] for row in units}) if is_equal else 1)


def _check_model(architecture: Architecture) -> None:
    """Check that single heads and neurons of a model can be removed."""
    try:
        require_separable_heads(architecture)
        require_neurons(architecture)
    except ModelError as err:
        raise RecipeError(err.message, err.context, key="structure", expected="another model or structure") from err
