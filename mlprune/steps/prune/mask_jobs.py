"""Plan the jobs that make variants: values of blocks, orderings block by block, sweeps and combinations.

A variant without whole blocks has no masks. Its job chooses the blocks and writes its record.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import ClassVar

from mlprune.errors import RecipeError
from mlprune.hashing import ordered_by_hash
from mlprune.json_values import JsonObject, JsonValue, as_float, as_int
from mlprune.methods import StatisticsName
from mlprune.models.checkpoint.weight_files import WeightFiles, architecture_at
from mlprune.recipe.base import NamedEntry
from mlprune.recipe.models import Recipe
from mlprune.steps.inputs import Inputs
from mlprune.steps.job import ChainLoader, Identity, Job, RecordKey, SmallJob, make_identity
from mlprune.steps.observe.block_influence import BlockInfluenceJob
from mlprune.steps.observe.block_pass import OBSERVED_KINDS
from mlprune.steps.observe.dense_pass import pass_jobs
from mlprune.steps.observe.passes import PlannedObservation, plan_observation
from mlprune.steps.prune.block_values import DenseScores, PlannedValues, ValueSources, plan_block_values
from mlprune.steps.prune.combine import CombineJob
from mlprune.steps.prune.ordering import CollectVariantsJob, DenseVariantJob, OrderBlockJob, Ordering
from mlprune.steps.prune.structure_masks import masks_of_structure
from mlprune.steps.prune.sweep import SweepJob
from mlprune.steps.prune.units import UnitsJob
from mlprune.steps.sets import PlannedSet
from mlprune.steps.variants.planned_variant import PlannedVariant
from mlprune.steps.variants.scored_variant import Calibration, ScoredVariant, block_identity
from mlprune.steps.variants.variant import (
    BlocksVariant,
    CombinedVariant,
    DenseVariant,
    Row,
    VariantSpec,
    of_kind,
    variant_row,
)
from mlprune.store.store import Store
from mlprune.vocabulary import TokenScope

MAX_SPARSITIES = 255
"""Most sparsities of one ordering: a level is a byte."""


def all_observations(
    recipe: Recipe,
    inputs: Inputs,
    recipe_observations: Iterable[PlannedObservation],
    variants: Mapping[str, PlannedVariant],
    *,
    products_of: Iterable[PlannedSet] = (),
) -> list[PlannedObservation]:
    """Return the dense passes over the recipe's sets and over all other sets that variants read, each once.

    Args:
        recipe_observations: passes over the sets of the recipe under the default profile. All sets are observed, for
            their feature magnitudes.
        products_of: sets whose Gram matrices over all tokens an analysis reads.
    """
    usual = {observation.identity.id: observation for observation in recipe_observations}
    passes: dict[str, tuple[PlannedSet, TokenScope]] = {}
    wanted: dict[str, dict[StatisticsName, None]] = defaultdict(dict)
    for spec in of_kind(ScoredVariant, (one.spec for one in variants.values())):
        variant, calibration = variants[spec.id], spec.dense_calibration
        if calibration is None or not spec.score.group.reads_features:
            continue
        for planned in _sets_of(variant):
            statistics_id = _observed(recipe, inputs, calibration, planned).identity.id
            passes[statistics_id] = (planned, calibration.selection.token_scope)
            if spec.propagation == "dense" and planned in variant.sets:
                wanted[statistics_id] |= dict.fromkeys(spec.needs)
    for planned in products_of:
        statistics_id = plan_observation(recipe, inputs, planned).identity.id
        passes[statistics_id] = (planned, "all")
        wanted[statistics_id]["products"] = None
    observed = {
        statistics_id: plan_observation(recipe, inputs, planned, token_scope, wanted=wanted[statistics_id])
        for statistics_id, (planned, token_scope) in passes.items()
    }
    return list((usual | observed).values())


def variant_jobs(recipe: Recipe, inputs: Inputs, variants: Mapping[str, PlannedVariant]) -> list[Job]:
    """Return all jobs that make variants, the dense one included if it is among them.

    Raises:
        RecipeError: one ordering would have too many sparsities.
    """
    specs = [variant.spec for variant in variants.values()]
    dense = of_kind(DenseVariant, specs)
    scored = [(variants[spec.id], spec) for spec in of_kind(ScoredVariant, specs)]
    values = {spec.id: _block_values(recipe, inputs, variant, spec) for variant, spec in scored}
    jobs: list[Job] = [
        DenseVariantJob(inputs.base, tuple(inputs.base_row.items()), inputs.base_layers, spec) for spec in dense[:1]
    ]
    jobs += {job.makes: job for planned in values.values() if planned is not None for job in planned.jobs}.values()
    orderings: dict[str, list[tuple[Ordering, ScoredVariant]]] = defaultdict(list)
    for variant, spec in scored:
        if masks := masks_of_structure(spec.structure):
            jobs += masks.jobs(recipe, inputs, planned=variant, variant=spec)
        elif spec.calibration is not None and spec.calibration.propagation == "sequential":
            jobs.append(_sweep(recipe, spec, spec.calibration, _key(values[spec.id])))
        else:
            ordering = _ordering(recipe, inputs, variant, spec, _key(values[spec.id]))
            if spec.score.group.of_model:
                jobs.append(UnitsJob(_identity(ordering, spec, (spec.sparsity,)), spec, ordering))
                continue
            alone = (spec.sparsity,) if spec.is_alone else ()
            orderings[_identity(ordering, spec, alone).id].append((ordering, spec))
    for group in orderings.values():
        jobs += _ordering_jobs(inputs, sorted(group, key=lambda pair: pair[1].sparsity))
    jobs += _block_jobs(recipe, inputs, [variants[spec.id] for spec in of_kind(BlocksVariant, specs)])
    return [*jobs, *map(_combination, of_kind(CombinedVariant, specs))]


def _sets_of(variant: PlannedVariant) -> Iterator[PlannedSet]:
    yield from variant.sets
    if variant.contrast is not None:
        yield variant.contrast


def _observed(recipe: Recipe, inputs: Inputs, calibration: Calibration, planned: PlannedSet) -> PlannedObservation:
    return plan_observation(recipe, inputs, planned, token_scope=calibration.selection.token_scope)


def _statistics(recipe: Recipe, inputs: Inputs, variant: PlannedVariant, calibration: Calibration) -> tuple[str, ...]:
    """Return the ids of the statistics of a variant's sets."""
    return tuple(_observed(recipe, inputs, calibration, planned).identity.id for planned in variant.sets)


def _block_values(recipe: Recipe, inputs: Inputs, variant: PlannedVariant, spec: ScoredVariant) -> PlannedValues | None:
    """Return the values of blocks that a variant's schedule reads; None if it reads none."""
    scores = None
    if spec.calibration is not None and spec.schedule.reads_statistics:
        statistics = _statistics(recipe, inputs, variant, spec.calibration)
        scores = DenseScores(inputs.model, spec.calibration.selection, statistics)
    return plan_block_values(spec.schedule, ValueSources(inputs.model, scores))


def _key(planned: PlannedValues | None) -> RecordKey | None:
    return planned.key if planned else None


def _parent_of(values: RecordKey | None) -> JsonObject:
    """Return the record of values as a parent, whose role is its kind."""
    return dict([values]) if values else {}


def _sweep(recipe: Recipe, spec: ScoredVariant, calibration: Calibration, values: RecordKey | None) -> SweepJob:
    parents: JsonObject = {"variant": spec.id, **_parent_of(values), "losses": spec.schedule.losses}
    ordering = make_identity("masks", {"sparsities": [spec.sparsity]}, parents=parents)
    return SweepJob(ordering, spec, calibration, values, batch_tokens=spec.model.batch_tokens(recipe.compute))


def _combination(spec: CombinedVariant) -> CombineJob:
    ordering = make_identity("masks", {"combination": spec.combination}, parents={"variant": spec.id})
    return CombineJob(ordering, spec)


def _ordering(
    recipe: Recipe, inputs: Inputs, variant: PlannedVariant, spec: ScoredVariant, values: RecordKey | None
) -> Ordering:
    """Return the ordering of one variant, with its sparsity only."""
    ordering = Ordering(spec, (spec.sparsity,), block_values=values)
    if spec.calibration is None:
        return ordering
    contrast = variant.contrast
    return replace(
        ordering,
        statistics=_statistics(recipe, inputs, variant, spec.calibration),
        contrast=_observed(recipe, inputs, spec.calibration, contrast).identity.id if contrast else None,
        observations=_observations(recipe, inputs, variant, spec),
    )


def _observations(
    recipe: Recipe, inputs: Inputs, variant: PlannedVariant, spec: ScoredVariant
) -> tuple[tuple[StatisticsName, tuple[str, ...]], ...]:
    """Return the statistics that a variant reads besides sums of squares, with the ids of their records."""
    if spec.calibration is None:
        return ()
    sets = [_observed(recipe, inputs, spec.calibration, planned).further for planned in variant.sets]
    return tuple((name, tuple(further[name].id for further in sets)) for name in OBSERVED_KINDS if name in spec.needs)


def _identity(ordering: Ordering, spec: ScoredVariant, sparsities: tuple[float, ...] = ()) -> Identity:
    """Return the identity of an ordering. Without sparsities, it is equal for variants that can share one."""
    shared = {name: value for name, value in spec.identity.parameters.items() if name != "sparsity"}
    parents: JsonObject = {
        "base_model": spec.model.base_model_id,
        "statistics": list(ordering.statistics) or None,
        "contrast_statistics": ordering.contrast,
        **{OBSERVED_KINDS[name]: list(ids) for name, ids in ordering.observations},
        **_parent_of(ordering.block_values),
        "losses": spec.schedule.losses,
    }
    return make_identity("masks", {**shared, "sparsities": list(sparsities)}, parents=parents)


def _ordering_jobs(inputs: Inputs, group: list[tuple[Ordering, ScoredVariant]]) -> list[Job]:
    """Return the jobs of one ordering: one per block, then the one that collects its variants."""
    first, variant = group[0]
    sparsities = tuple(spec.sparsity for _, spec in group)
    if len(sparsities) > MAX_SPARSITIES:
        got = f"{len(sparsities)} of score {variant.score.score}, structure {variant.score.structure}"
        raise RecipeError("an ordering has too many sparsities", expected=f"at most {MAX_SPARSITIES}", got=got)
    ordering, identity = replace(first, sparsities=sparsities), _identity(first, variant, sparsities)
    blocks = [_block(identity, block) for block in range(inputs.model.n_blocks)]
    jobs: list[Job] = [OrderBlockJob(block, inputs.model, identity.id, n, ordering) for n, block in enumerate(blocks)]
    return [*jobs, CollectVariantsJob(identity, tuple(block.id for block in blocks), tuple(spec for _, spec in group))]


def _block(ordering: Identity, block: int) -> Identity:
    return block_identity(ordering.id, block, parents=dict(ordering.parents))


def _block_jobs(recipe: Recipe, inputs: Inputs, variants: Iterable[PlannedVariant]) -> Iterator[Job]:
    """Yield the job of each variant without blocks, after that of the influences that it reads.

    Raises:
        RecipeError: masks of such a variant, which has none, would be read.
    """
    for variant in variants:
        for entry in variant.entries:
            require_no_masks_of(recipe, entry)
        sets = {"": variant.sets}
        passes = pass_jobs(BlockInfluenceJob, "block_influence", recipe, inputs, sets, names=sets)
        yield from passes
        for spec in of_kind(BlocksVariant, [variant.spec]):
            yield RemoveBlocksJob(spec.identity, spec, *(job.identity.id for job in passes))


def require_no_masks_of(recipe: Recipe, entry: NamedEntry) -> None:
    """Refuse an entry whose masks are combined or analysed."""
    errors = recipe.analyses.layer_errors
    uses = {
        "combine": [name for other in recipe.variants for name in other.of],
        "analyses.neuron_variants": recipe.analyses.neuron_variants,
        "analyses.layer_errors": (errors.variants or [entry.name]) if errors else (),
    }
    for use, names in uses.items():
        if entry.name in names:
            message = "a variant without whole blocks has no masks"
            raise RecipeError(message, variant=entry.name, key=use, expected="names of other variants")


@dataclass(frozen=True)
class RemoveBlocksJob(SmallJob):
    """Choose the blocks of a variant and write its record."""

    step: ClassVar[str] = "prune"
    variant: BlocksVariant
    influence_id: str | None = None
    """Record of the influence of all blocks; None if the score does not read it."""

    @property
    def needs(self) -> tuple[RecordKey, ...]:
        """The influence of the blocks, if the score reads it."""
        return (("block_influence", self.influence_id),) if self.influence_id else ()

    def run(self, store: Store, chain: ChainLoader) -> None:
        """Write the record."""
        influence: dict[int, float] = {}
        if self.influence_id:
            rows = store.require("block_influence", self.influence_id).rows["block_influence"]
            influence = {as_int(row["block"]): as_float(row["influence"]) for row in rows}
        removed = chosen_blocks(self.variant, influence)
        store.write_record(self.identity.record(rows=rows_without_blocks(self.variant, removed)))


def chosen_blocks(variant: BlocksVariant, influence: Mapping[int, float]) -> list[int]:
    """Return the blocks that a variant lacks, ascending.

    Of equal influences, that of the earlier block counts as lower. Random blocks are the first ones in the order of the
    SHA-256 of `"seed:block"`.

    Args:
        influence: of each block, for score block_influence.
    """
    blocks = variant.candidates
    if variant.score.score == "block_influence":
        ordered = sorted(blocks, key=lambda block: (influence[block], block))
    else:
        ordered = list(map(int, ordered_by_hash(variant.score.seed or 0, map(str, blocks))))
    return sorted(ordered[: variant.n_removed])


def rows_without_blocks(variant: VariantSpec, removed: Sequence[int]) -> dict[str, list[Row]]:
    """Return table -> rows of a variant that lacks whole blocks."""
    layers = list(_layers_without(variant, removed))
    weights = sum(as_int(row["n_removed"]) for row in layers) / sum(as_int(row["n_weights"]) for row in layers)
    columns: Row = {"n_removed_blocks": len(removed), "removed_blocks": list[JsonValue](removed)}
    links: list[Row] = [
        {"variant_id": variant.id, "demonstration_set_id": set_id, "role": role, "weight": weight}
        for set_id, role, weight in variant.set_links()
    ]
    tables: dict[str, list[Row]] = {
        "variants": [variant_row(variant, achieved=weights) | columns],
        "variant_layers": layers,
        "variant_demonstrations": links,
    }
    return {name: rows for name, rows in tables.items() if rows}


def _layers_without(variant: VariantSpec, removed: Collection[int]) -> Iterator[Row]:
    """Yield the number of removed weights in each layer: all weights of a removed block."""
    files = WeightFiles(Path(variant.model.path), architecture_at(variant.model.path))
    for block in range(variant.model.n_blocks):
        for layer, shape in files.layer_shapes(block).items():
            row: Row = {"variant_id": variant.id, "block": block, "layer": layer, "n_weights": prod(shape)}
            row |= {"n_removed": prod(shape) if block in removed else 0}
            yield row | {"n_silent_features": 0, "n_dampings": None}
