"""Plan the variants that combine others: which variants go together, and what they have in common."""

from collections import defaultdict
from collections.abc import Iterator, Mapping

from mlprune.errors import RecipeError
from mlprune.json_values import JsonObject
from mlprune.recipe import Recipe, VariantConfig
from mlprune.steps.inputs import Inputs
from mlprune.steps.job import make_identity
from mlprune.steps.prune.plan import PlannedVariant, added
from mlprune.steps.prune.variant import CombinedVariant, agreeing_columns
from mlprune.steps.prune.variant_rows import variant_row

SHARED_COLUMNS = (
    "score",
    "score_parameters",
    "structure",
    "propagation",
    "profile",
    "removes",
    "schedule",
    "schedule_parameters",
    "scope",
    "token_scope",
)
"""Columns of a combination that have the value of its parents, or NULL if they differ."""


def add_combinations(
    recipe: Recipe, inputs: Inputs, planned: Mapping[str, PlannedVariant]
) -> dict[str, PlannedVariant]:
    """The planned variants and those that combine them; a combination may combine others.

    Raises:
        RecipeError: there are not two variants to combine, their weights changed, or names go in a circle.
    """
    known = dict(planned)
    waiting = [entry for entry in recipe.variants if entry.combine is not None]
    while waiting:
        unplanned = {entry.name for entry in waiting if entry.name}
        ready = [entry for entry in waiting if not unplanned & set(entry.of)]
        if not ready:
            raise RecipeError("combinations combine each other in a circle", names=sorted(unplanned))
        for entry in ready:
            known = added(known, entry, _combinations_of(inputs, entry, known))
        waiting = [entry for entry in waiting if entry not in ready]
    return known


def _combinations_of(
    inputs: Inputs, entry: VariantConfig, planned: Mapping[str, PlannedVariant]
) -> Iterator[PlannedVariant]:
    """One combination for each group of variants that go together.

    Of several names, one variant each: those that go with a variant of the first. Of one name, all its variants that
    agree in sparsity, structure, propagation and seed of their sets.
    """
    named = [[one for one in planned.values() if name in {own.name for own in one.entries}] for name in entry.of]
    groups = _of_one_name(named[0]) if len(named) == 1 else _of_several_names(entry, named)
    if not groups:
        expected = "two variants or more that agree in sparsity, structure, propagation and seed"
        got = [one.label for members in named for one in members][:6]
        raise RecipeError("there is nothing to combine", of=entry.of, expected=expected, got=got)
    yield from (_combined(inputs, entry, members) for members in groups)


def _of_one_name(members: list[PlannedVariant]) -> list[list[PlannedVariant]]:
    groups: dict[tuple[object, ...], list[PlannedVariant]] = defaultdict(list)
    for one in members:
        groups[one.spec.sparsity, one.spec.structure, one.spec.propagation, one.seed].append(one)
    return [group for group in groups.values() if len(group) > 1]


def _of_several_names(entry: VariantConfig, named: list[list[PlannedVariant]]) -> list[list[PlannedVariant]]:
    groups = []
    for first in named[0]:
        others = [[one for one in members if first.is_comparable_with(one)] for members in named[1:]]
        for name, found in zip(entry.of[1:], others, strict=True):
            if len(found) > 1:
                got = [one.label for one in found]
                raise RecipeError(
                    "which variants to combine is not clear", of=entry.of, expected=f"one {name}", got=got
                )
        if all(others):
            groups.append([first, *(found[0] for found in others)])
    return groups


def _combined(inputs: Inputs, entry: VariantConfig, members: list[PlannedVariant]) -> PlannedVariant:
    """The combination of some variants, in the order of their names."""
    if len({one.id for one in members}) < len(members):
        got = [one.label for one in members]
        raise RecipeError("a combination would have one variant twice", of=entry.of, got=got)
    changed = [one.label for one in members if one.spec.weights_changed]
    if changed:
        raise RecipeError("masks of variants with changed weights cannot be combined", of=entry.of, got=changed)
    if entry.combine == "symmetric_difference" and len(members) != 2:
        got = [one.label for one in members]
        raise RecipeError("a symmetric difference is of two variants", of=entry.of, expected=2, got=got)
    if entry.combine is None:
        raise RecipeError("a combination needs combine", of=entry.of)
    ids = tuple(one.id for one in members)
    rows = [variant_row(one.spec, achieved=0.0) for one in members]
    parents: JsonObject = {"base_model": inputs.base.id, "variants": list(ids)}
    spec = CombinedVariant(
        make_identity("variants", {"combination": entry.combine}, parents=parents),
        inputs.model,
        sparsity=members[0].spec.sparsity,
        combination=entry.combine,
        parent_ids=ids,
        shared=tuple(agreeing_columns(rows, SHARED_COLUMNS).items()),
    )
    return PlannedVariant(spec, parents=tuple(members))
