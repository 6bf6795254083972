"""Plan how variants are made: orderings block by block, sweeps, combinations, and what they read."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace

from mlprune.errors import RecipeError
from mlprune.recipe import Recipe
from mlprune.steps.demonstrate.plan import PlannedSet
from mlprune.steps.inputs import Inputs
from mlprune.steps.job import Identity, Job, make_identity
from mlprune.steps.observe.plan import PlannedObservation, plan_observation
from mlprune.steps.prune.combine import CombineJob
from mlprune.steps.prune.ordering import CollectVariantsJob, DenseVariantJob, OrderBlockJob, Ordering
from mlprune.steps.prune.outliers import OutliersJob
from mlprune.steps.prune.plan import PlannedVariant
from mlprune.steps.prune.sweep import SweepJob
from mlprune.steps.prune.variant import block_identity

MAX_SPARSITIES = 255
"""Sparsities one ordering can serve: a level is a byte."""


def observations(
    recipe: Recipe, inputs: Inputs, sets: list[PlannedSet], variants: Mapping[str, PlannedVariant]
) -> list[PlannedObservation]:
    """The dense passes over the recipe's sets, and those that variants read beside them, once each.

    Args:
        sets: the sets of the recipe under the default profile: each is observed, for the features it activates.
    """
    wanted = [plan_observation(recipe, inputs, one) for one in sets]
    for variant in variants.values():
        if variant.spec.propagation == "dense" or variant.spec.schedule.kind == "owl":
            wanted += [_observed(recipe, inputs, variant, one) for one in _sets_of(variant)]
    return list({one.identity.id: one for one in wanted}.values())


def variant_jobs(recipe: Recipe, inputs: Inputs, variants: Mapping[str, PlannedVariant]) -> list[Job]:
    """All jobs that make variants: the dense one, outlier ratios, orderings block by block, sweeps, combinations.

    Raises:
        RecipeError: one ordering would serve too many sparsities.
    """
    dense, *others = variants.values()
    scored = [one for one in others if one.spec.choice is not None]
    outliers = {one.id: _outliers(recipe, inputs, one) for one in scored if one.spec.schedule.kind == "owl"}
    jobs: list[Job] = [DenseVariantJob(inputs.base, tuple(inputs.base_row.items()), dense.spec)]
    jobs += {job.identity.id: job for job in outliers.values()}.values()
    swept = [one for one in scored if one.spec.propagation == "sequential"]
    jobs += [_sweep(recipe, one, outliers.get(one.id)) for one in swept]
    groups: dict[str, list[tuple[Ordering, PlannedVariant]]] = defaultdict(list)
    for one in scored:
        if one.spec.propagation != "sequential":
            ordering = _ordering(recipe, inputs, one, outliers.get(one.id))
            # the alpha of a sparsity is found within a tolerance, so masks of close sparsities need not nest
            alone = (one.spec.sparsity,) if ordering.choice.structure == "alpha" else ()
            groups[_identity(ordering, one, alone).id].append((ordering, one))
    for group in groups.values():
        jobs += _ordering_jobs(inputs, sorted(group, key=lambda pair: pair[1].spec.sparsity))
    return [*jobs, *(_combination(one) for one in others if one.spec.combination)]


def _sets_of(variant: PlannedVariant) -> Iterator[PlannedSet]:
    yield from variant.sets
    if variant.contrast is not None:
        yield variant.contrast


def _observed(recipe: Recipe, inputs: Inputs, variant: PlannedVariant, one: PlannedSet) -> PlannedObservation:
    assert variant.spec.reading is not None, "only variants that read statistics have sets"
    return plan_observation(recipe, inputs, one, token_scope=variant.spec.reading.token_scope)


def _outliers(recipe: Recipe, inputs: Inputs, variant: PlannedVariant) -> OutliersJob:
    """The outlier ratios a variant's schedule reads."""
    spec = variant.spec
    assert spec.reading is not None, "owl reads statistics"
    assert spec.schedule.m is not None, "owl says what an outlier is"
    statistics = tuple(_observed(recipe, inputs, variant, one).identity.id for one in variant.sets)
    parents = {"base_model": inputs.base.id, "statistics": list(statistics)}
    parameters = {**spec.reading.parameters, "m": spec.schedule.m, "dtype": inputs.model.dtype}
    identity = make_identity("outliers", parameters, parents=parents)
    return OutliersJob(identity, inputs.model, spec.schedule.m, spec.reading, statistics)


def _sweep(recipe: Recipe, variant: PlannedVariant, outliers: OutliersJob | None) -> SweepJob:
    spec = variant.spec
    ratios = outliers.identity.id if outliers else None
    parents = {"variant": spec.id, "outliers": ratios}
    ordering = make_identity("masks", {"sparsities": [spec.sparsity]}, parents=parents)
    return SweepJob(ordering, spec, ratios, batch_tokens=recipe.compute.planned_batch_tokens)


def _combination(variant: PlannedVariant) -> CombineJob:
    ordering = make_identity("masks", {"combination": variant.spec.combination}, parents={"variant": variant.id})
    return CombineJob(ordering, variant.spec)


def _ordering(recipe: Recipe, inputs: Inputs, variant: PlannedVariant, outliers: OutliersJob | None) -> Ordering:
    """The ordering of one variant, with its sparsity alone."""
    spec = variant.spec
    assert spec.choice is not None, "an ordering has a score"
    contrast = _observed(recipe, inputs, variant, variant.contrast).identity.id if variant.contrast else None
    return Ordering(
        spec.choice,
        (spec.sparsity,),
        spec.schedule,
        spec.scope,
        spec.reading,
        tuple(_observed(recipe, inputs, variant, one).identity.id for one in variant.sets),
        contrast,
        outliers.identity.id if outliers else None,
    )


def _identity(ordering: Ordering, variant: PlannedVariant, sparsities: tuple[float, ...] = ()) -> Identity:
    """Identity of an ordering; without its sparsities it is what the variants of one ordering have in common."""
    shared = {name: value for name, value in variant.spec.identity.parameters.items() if name != "sparsity"}
    parents = {
        "base_model": variant.spec.model.base_model_id,
        "statistics": list(ordering.statistics) or None,
        "contrast_statistics": ordering.contrast,
        "outliers": ordering.outliers,
    }
    return make_identity("masks", {**shared, "sparsities": list(sparsities)}, parents=parents)


def _ordering_jobs(inputs: Inputs, group: list[tuple[Ordering, PlannedVariant]]) -> list[Job]:
    """Jobs of one ordering: a block each, then the variants of its sparsities."""
    first, variant = group[0]
    sparsities = tuple(one.spec.sparsity for _, one in group)
    if len(sparsities) > MAX_SPARSITIES:
        got = f"{len(sparsities)} of {variant.label}"
        raise RecipeError("too many sparsities of one ordering", expected=f"at most {MAX_SPARSITIES}", got=got)
    ordering, identity = replace(first, sparsities=sparsities), _identity(first, variant, sparsities)
    blocks = [_block(identity, block) for block in range(inputs.model.n_blocks)]
    jobs: list[Job] = [OrderBlockJob(own, inputs.model, identity.id, n, ordering) for n, own in enumerate(blocks)]
    return [*jobs, CollectVariantsJob(identity, tuple(own.id for own in blocks), tuple(one.spec for _, one in group))]


def _block(ordering: Identity, block: int) -> Identity:
    return block_identity(ordering.id, block, parents=dict(ordering.parents))
