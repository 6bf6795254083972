"""Plan the jobs that make variants: values of blocks, orderings block by block, sweeps and combinations."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from mlprune.errors import RecipeError
from mlprune.json_values import JsonObject
from mlprune.methods import StatisticsName
from mlprune.recipe.models import Recipe
from mlprune.steps.inputs import Inputs
from mlprune.steps.job import Identity, Job, RecordKey, make_identity
from mlprune.steps.observe.block_pass import OBSERVED_KINDS
from mlprune.steps.observe.passes import PlannedObservation, plan_observation
from mlprune.steps.prune.block_values import DenseScores, PlannedValues, ValueSources, plan_block_values
from mlprune.steps.prune.combine import CombineJob
from mlprune.steps.prune.ordering import CollectVariantsJob, DenseVariantJob, OrderBlockJob, Ordering
from mlprune.steps.prune.structure_variants import variants_of_structure
from mlprune.steps.prune.sweep import SweepJob
from mlprune.steps.sets import PlannedSet
from mlprune.steps.variants.planned_variant import PlannedVariant
from mlprune.steps.variants.scored_variant import Calibration, ScoredVariant, block_identity
from mlprune.steps.variants.variant import CapabilityVariant, CombinedVariant, DenseVariant, of_kind
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
    scored = {key: variant.spec for key, variant in variants.items() if isinstance(variant.spec, ScoredVariant)}
    values = {key: _block_values(recipe, inputs, variants[key], spec) for key, spec in scored.items()}
    jobs: list[Job] = [
        DenseVariantJob(inputs.base, tuple(inputs.base_row.items()), inputs.base_layers, spec) for spec in dense[:1]
    ]
    jobs += {job.makes: job for planned in values.values() if planned is not None for job in planned.jobs}.values()
    orderings: dict[str, list[tuple[Ordering, ScoredVariant]]] = defaultdict(list)
    for key, spec in scored.items():
        variant = variants[key]
        if of_structure := variants_of_structure(spec.score.structure, spec.score.structure_plugin):
            jobs += of_structure.jobs(recipe, inputs, planned=variant, variant=spec)
        elif spec.calibration is not None and spec.calibration.propagation == "sequential":
            jobs.append(_sweep(recipe, spec, spec.calibration, _key(values[key])))
        else:
            ordering = planned_ordering(recipe, inputs, variant, spec, _key(values[key]))
            alone = (spec.sparsity,) if spec.is_alone else ()
            orderings[ordering_identity(ordering, spec, alone).id].append((ordering, spec))
    for group in orderings.values():
        jobs += _ordering_jobs(inputs, sorted(group, key=lambda pair: pair[1].sparsity))
    for variant in variants.values():
        other = variant.spec
        if isinstance(other, CapabilityVariant) and other.has_known_structure:
            of_structure = variants_of_structure(other.structure)
            jobs += of_structure.jobs(recipe, inputs, planned=variant, variant=other) if of_structure else ()
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


def planned_ordering(
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


def ordering_identity(ordering: Ordering, spec: ScoredVariant, sparsities: tuple[float, ...] = ()) -> Identity:
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
    ordering, identity = replace(first, sparsities=sparsities), ordering_identity(first, variant, sparsities)
    blocks = [_block(identity, block) for block in range(inputs.model.n_blocks)]
    jobs: list[Job] = [OrderBlockJob(block, inputs.model, identity.id, n, ordering) for n, block in enumerate(blocks)]
    return [*jobs, CollectVariantsJob(identity, tuple(block.id for block in blocks), tuple(spec for _, spec in group))]


def _block(ordering: Identity, block: int) -> Identity:
    return block_identity(ordering.id, block, parents=dict(ordering.parents))
