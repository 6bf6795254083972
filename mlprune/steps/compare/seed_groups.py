"""Groups of variants that differ in nothing but a seed, so that its share of a difference can be estimated."""

from collections import defaultdict
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, replace
from typing import Literal, get_args

from mlprune.pruning.spec import ScoreSpec
from mlprune.steps.demonstrate.plan import PlannedSet
from mlprune.steps.neurons.variant import NeuronVariant
from mlprune.steps.prune.plan import PlannedVariant
from mlprune.steps.prune.variant import CombinedVariant, QuantisedVariant, ScoredVariant

SeedSource = Literal["demonstrations", "score", "resamples"]
"""What is drawn again with another seed: the sentences, the random score, or a bootstrap of the demonstrations."""


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
            seed = _seed(variant, source)
            if seed is not None:
                members[source, _without(variant, source)].setdefault(seed, variant.id)
    return [
        SeedGroup(source, tuple(sorted(by_seed.items())))
        for (source, _), by_seed in members.items()
        if len(by_seed) > 1
    ]


def _seed(variant: PlannedVariant, source: SeedSource) -> int | None:
    """Return the seed of a source; None if the variant has none, or parents with different ones."""
    if variant.baseline is not None:
        return None
    if variant.parents:
        seeds = {_seed(parent, source) for parent in variant.parents} - {None}
        return next(iter(seeds)) if len(seeds) == 1 else None
    if isinstance(variant.spec, NeuronVariant):
        return variant.spec.seed if source == "score" else None
    if not isinstance(variant.spec, ScoredVariant):
        return None
    calibration = variant.spec.calibration
    resample_seed = calibration.selection.resample_seed if calibration else None
    return {"score": variant.spec.score.seed, "resamples": resample_seed, "demonstrations": variant.seed}[source]


def _without(variant: PlannedVariant, source: SeedSource) -> Hashable:
    """Return everything that determines a variant except the seed of a source."""
    spec = variant.spec
    if isinstance(spec, CombinedVariant):
        return spec.combination, tuple(_without(parent, source) for parent in variant.parents)
    if isinstance(spec, NeuronVariant):
        return replace(spec.selection, seed=0), spec.activity_ids
    if isinstance(spec, QuantisedVariant):
        return spec.quantisation, _without(variant.unquantised, source)
    assert isinstance(spec, ScoredVariant), "only masks have seeds"
    calibration = spec.calibration
    selection = calibration.selection if calibration else None
    if selection is not None and source == "resamples" and selection.resample_seed is not None:
        selection = replace(selection, resample_seed=0)
    sets = (*variant.sets, *([variant.contrast] if variant.contrast else []))
    return (
        _score(spec.score, source),
        spec.propagation,
        selection,
        tuple(_set(planned, source) for planned in sets),
        (spec.sparsity, spec.schedule, spec.scope, spec.profile, spec.refinement),
    )


def _score(score: ScoreSpec, source: SeedSource) -> Hashable:
    if source != "score" or score.seed is None:
        return score
    return score.with_seed(0)


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
