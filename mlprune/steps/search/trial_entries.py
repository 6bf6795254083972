"""Variant entries of the points of a search, and of what its winner is compared with."""

from collections.abc import Mapping
from math import isclose

from mlprune.errors import RecipeError
from mlprune.recipe import VariantConfig
from mlprune.recipe.searches.trial_keys import with_keys
from mlprune.search.space import Point
from mlprune.steps.search.level_entries import level_keys
from mlprune.steps.search.spec import SearchSpec

SPARSITY_DIGITS = 6
"""Decimal places of the sparsity of a trial whose layers differ."""


def trial_entry(spec: SearchSpec, point: Point, *, name: str | None = None) -> VariantConfig:
    """Return the variant entry of a point: the trial has the id of the same entry written by hand.

    Args:
        name: of the entry; None for trials, to which nothing refers.
    Raises:
        RecipeError: no variant has the values of the point.
    """
    return _variant(spec, _entry(spec, point), name=name)


def with_schedule(spec: SearchSpec, point: Point, kind: str, *, name: str | None = None) -> VariantConfig:
    """Return the entry of a point with its sparsity and another schedule at its defaults, such as `owl`.

    Raises:
        RecipeError: the schedule is impossible for the point, such as owl for a score without demonstrations.
    """
    return _variant(spec, {**_entry(spec, point), "schedule": {"kind": kind}}, name=name)


def _entry(spec: SearchSpec, point: Point) -> dict[str, object]:
    entry = with_keys(spec.base, spec.space.values(point))
    of_units = spec.space.unit_levels(point)
    if spec.units is None:
        return entry
    levels = {layer: of_units[unit] for layer, unit in spec.units.unit_of_layer.items()}
    return entry | level_keys(levels, sparsity=_sparsity(spec, point))


def _sparsity(spec: SearchSpec, point: Point) -> float:
    """Return the sparsity of the units, weighted by their weights: the total, or rounded to `SPARSITY_DIGITS`."""
    units, sparsity = spec.space.units, spec.space.sparsity(point)
    assert units is not None
    assert sparsity is not None, "the space has levels"
    if units.total is not None and isclose(sparsity, units.total, rel_tol=0, abs_tol=1e-9):
        return units.total
    return round(sparsity, SPARSITY_DIGITS)


def _variant(spec: SearchSpec, entry: Mapping[str, object], *, name: str | None) -> VariantConfig:
    try:
        return VariantConfig.model_validate(entry if name is None else {**entry, "name": name})
    except ValueError as err:
        reason = " ".join(str(err).split())
        raise RecipeError("a point of a search is not a variant", search=spec.name, got=entry, reason=reason) from err
