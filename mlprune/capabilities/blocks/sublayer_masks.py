"""Variants without whole sub-layers: plan them and their jobs, choose the sub-layers, and write masks and biases.

A removed sub-layer adds exactly 0 to the hidden states: the masks of all its layers keep no weight, and biases of the
layers that give its outputs become 0. What runs after these layers, such as a norm without a bias, maps 0 to 0.
"""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from mlprune.capabilities.blocks.removal import chosen_units, planned_depth, require_some
from mlprune.capabilities.blocks.sublayer_influence import SublayerInfluenceJob, sublayers_in
from mlprune.capabilities.blocks.variant import SublayersVariant, Unit
from mlprune.errors import RecipeError, unknown
from mlprune.json_values import JsonValue, Row, as_float, as_object
from mlprune.models.architecture.architecture import Architecture, SubLayer
from mlprune.models.checkpoint.weight_files import DTYPES, WeightFiles, architecture_at, bias_name
from mlprune.models.placement.memory_estimate import Footprint
from mlprune.pruning.mask_files import biases_path, write_block_weights
from mlprune.pruning.scoring import BlockLevels, described_levels
from mlprune.pruning.spec import Scope, ScoreSpec
from mlprune.recipe.models import Recipe
from mlprune.steps.inputs import Inputs
from mlprune.steps.job import ChainLoader, Identity, Job, JobCost, ModelRef, RecordKey, SetSizes, make_identity
from mlprune.steps.observe.dense_pass import pass_jobs
from mlprune.steps.prune.structure_variants import StructureVariants
from mlprune.steps.variants.masks_job import MasksJob
from mlprune.steps.variants.planned_variant import PlannedVariant
from mlprune.steps.variants.scored_variant import ScoredVariant
from mlprune.steps.variants.variant_rows import write_variants
from mlprune.store.records import Artefact, Record
from mlprune.store.store import Store


@dataclass(frozen=True)
class RemoveSublayersJob(MasksJob):
    """Choose the sub-layers of a variant, and write its masks and biases."""

    variant: SublayersVariant
    influence_id: str | None = None
    """Record of the influence of all sub-layers; None if the score does not read it."""

    @property
    def needs(self) -> tuple[RecordKey, ...]:
        """The influence of the sub-layers, if the score reads it."""
        return (("sublayer_influence", self.influence_id),) if self.influence_id else ()

    def cost(self, sizes: Footprint, sets: SetSizes) -> JobCost:
        """All blocks, one per thread."""
        return JobCost.per_block(self.step, sizes, 3, writes_masks=True)

    def run(self, store: Store, chain: ChainLoader) -> None:
        """Write the files of all blocks, then the records."""
        removed = chosen_units(self.variant, stored_influence(store, self.influence_id))
        model = self.variant.model
        n_blocks = model.n_blocks
        biases = {block: zero_biases(model, removed, block) for block in range(n_blocks)}
        has_biases = any(biases.values())

        def write_biases(block: int) -> tuple[Artefact, ...]:
            path = biases_path(self.variant.id, block)
            return (write_block_weights(store, path, biases[block]),) if has_biases else ()

        levels_of = partial(sublayer_levels, model, removed, sparsity=self.variant.sparsity)
        blocks = self.write_masks(store, levels_of, further=write_biases)
        columns: Row = {"removed_sublayers": list[JsonValue](removed)}
        columns |= {"biases_changed": True} if has_biases else {}
        write_variants(store, self.ordering, blocks, (self.variant,), columns=columns)


def _removed_in(architecture: Architecture, removed: Collection[Unit], block: int) -> list[SubLayer]:
    return [one for one in architecture.block(block).sublayers if f"{block}.{one.kind}" in removed]


def sublayer_levels(model: ModelRef, removed: Collection[Unit], block: int, *, sparsity: float) -> BlockLevels:
    """Return layer -> keep mask of a block, as levels 0 (removed) and 1 (kept): none of removed sub-layers."""
    architecture = architecture_at(model.path)
    lost = {layer for sublayer in _removed_in(architecture, removed, block) for layer in sublayer.layers}
    shapes = WeightFiles(Path(model.path), architecture).layer_shapes(block)
    keeps = {layer: torch.full(shape, layer not in lost, dtype=torch.uint8) for layer, shape in shapes.items()}
    return {layer: described_levels(keep, (sparsity,)) for layer, keep in keeps.items()}


def zero_biases(model: ModelRef, removed: Collection[Unit], block: int) -> dict[str, Tensor]:
    """Return layer -> zeros in place of its bias, for the outputs of removed sub-layers that have one."""
    architecture = architecture_at(model.path)
    files = WeightFiles(Path(model.path), architecture)
    shapes = files.layer_shapes(block)
    return {
        layer: torch.zeros(shapes[layer][0], dtype=DTYPES[model.dtype])
        for sublayer in _removed_in(architecture, removed, block)
        for layer in sublayer.outputs
        if files.has(bias_name(architecture, block, layer))
    }


class SublayerVariants(StructureVariants[SublayersVariant]):
    """Variants of structure `sublayers`."""

    def planned(self, variant: ScoredVariant) -> SublayersVariant:
        """Return the variant that lacks sub-layers. Scopes of the same sub-layers give the same variant.

        Raises:
            RecipeError: the model has no such sub-layer, or the variant would lack none, or all.
        """
        model = variant.model
        names, chosen = _names(model), sublayers_of_scope(variant.scope, model)
        scope = Scope() if chosen == names else Scope(sublayers=chosen)
        spec = sublayers_variant(planned_depth(variant, scope, n_chosen=len(chosen), n_units=len(names)), model)
        require_some(spec, n_units=len(names))
        return spec

    def jobs(
        self, recipe: Recipe, inputs: Inputs, *, planned: PlannedVariant, variant: SublayersVariant
    ) -> Iterator[Job]:
        """Yield the pass over the set whose influence the score reads, if any, then the job of the variant."""
        sets = {"": planned.sets}
        passes = pass_jobs(SublayerInfluenceJob, "sublayer_influence", recipe, inputs, sets, names=sets)
        yield from passes
        influence_id = next((job.identity.id for job in passes), None)
        parents = {"variant": variant.id, "sublayer_influence": influence_id}
        yield RemoveSublayersJob(make_identity("masks", parents=parents), variant, influence_id)

    def rebuilder(
        self, store: Store, identity: Identity, model: ModelRef, *, ordering: Record
    ) -> Callable[[int], BlockLevels]:
        """Return a function that makes the levels of a block again, from the stored influence."""
        variant = sublayers_variant(identity, model)
        removed = chosen_units(variant, stored_influence(store, ordering.parents.get("sublayer_influence")))
        return partial(sublayer_levels, model, removed, sparsity=variant.sparsity)


def sublayers_variant(identity: Identity, model: ModelRef) -> SublayersVariant:
    """Build a variant from its identity."""
    parameters, set_ids = identity.parameters, identity.parents.get("demonstration_sets", ())
    scope = Scope.from_parameters(as_object(parameters.get("scope", {})))
    chosen = sublayers_of_scope(scope, model)
    has_biases = any(zero_biases(model, chosen, block) for block in range(model.n_blocks))
    set_id = set_ids[0] if set_ids else None
    score, share = ScoreSpec.from_parameters(parameters), as_float(parameters["sparsity"])
    return SublayersVariant(identity, model, share, score, scope, set_id, chosen, has_biases)


def stored_influence(store: Store, influence_id: object) -> dict[Unit, float]:
    """Return sub-layer -> its influence in a record; empty without one."""
    if influence_id is None:
        return {}
    rows = store.require("sublayer_influence", str(influence_id)).rows["sublayer_influence"]
    return {f"{row['block']}.{row['sublayer']}": as_float(row["influence"]) for row in rows}


def _names(model: ModelRef) -> tuple[str, ...]:
    """Return all sub-layers of a model, as `3.attention`, in the order of their run."""
    return tuple(f"{block}.{sublayer.kind}" for block, sublayer in sublayers_in(architecture_at(model.path)))


def sublayers_of_scope(scope: Scope, model: ModelRef) -> tuple[str, ...]:
    """Return the sub-layers of a scope, as `3.attention`, in the order of the model.

    Raises:
        RecipeError: the scope names a sub-layer, or a kind, that the model does not have, or blocks without any.
    """
    names = _names(model)
    kinds = list(dict.fromkeys(name.partition(".")[2] for name in names))
    for name in scope.sublayers:
        if name not in (*kinds, *names):
            raise unknown("sub-layer", name, [*kinds, *names], error=RecipeError, model_type=model.family)
    chosen = tuple(name for name in names if _is_in(scope, name))
    if not chosen:
        message = "a scope has no sub-layer that can be removed"
        raise RecipeError(message, model_type=model.family, expected=list(names), got=scope.parameters)
    return chosen


def _is_in(scope: Scope, name: str) -> bool:
    number, _, kind = name.partition(".")
    is_named = not scope.sublayers or bool({name, kind} & set(scope.sublayers))
    return is_named and (not scope.blocks or int(number) in scope.blocks)
