"""Groups of variants that differ in nothing but a seed, so that its share of a difference can be estimated."""

from collections import defaultdict
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, replace
from typing import get_args

from mlprune.steps.base_variant import SeedSource
from mlprune.steps.demonstrate.plan import PlannedSet
from mlprune.steps.prune.plan import PlannedVariant


@dataclass(frozen=True)
class SeedGroup:
    """Variants with different seeds, in the order of their seeds."""

    source: SeedSource
    variants: tuple[tuple[int, str], ...]
    """(seed, id of the variant)."""


def seed_groups(variants: Iterable[PlannedVariant]) -> list[SeedGroup]:
    """Return the groups of at least two variants, in the order of their first variants."""
    members: dict[tuple[SeedSource, Hashable], dict[int, str]] = defaultdict(dict)
    for variant in variants:
        for source in get_args(SeedSource):
            seed = variant.own_seed(source)
            if seed is not None:
                members[source, _without(variant, source)].setdefault(seed, variant.id)
    return [
        SeedGroup(source, tuple(sorted(by_seed.items())))
        for (source, _), by_seed in members.items()
        if len(by_seed) > 1
    ]


def _without(variant: PlannedVariant, source: SeedSource) -> Hashable:
    """Return everything that determines a variant except the seed of a source."""
    sets = (*variant.sets, *([variant.contrast] if variant.contrast else []))
    return variant.spec.without_seed(
        source,
        sets=tuple(_set(planned, source) for planned in sets),
        parents=tuple(_without(parent, source) for parent in variant.parents),
    )


def _set(planned: PlannedSet, source: SeedSource) -> Hashable:
    """Return the set's id or, without its seed, its description; a mixed set has that of its name.

    The number of demonstrations that fill a token budget depends on the seed, so it is not part of the description.
    """
    if source != "demonstrations":
        return planned.id
    spec = planned.spec
    name = planned.name if spec.kind == "mixed" else ""
    described = replace(spec, seed=0, samples=0 if spec.token_budget else spec.samples)
    return described, name, tuple(sorted(planned.identity.contents.items()))
