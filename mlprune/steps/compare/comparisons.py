"""Plan the comparisons of variants with dense and named baselines, of languages, of masks and of features."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from types import MappingProxyType

from mlprune.errors import RecipeError
from mlprune.json_values import as_int
from mlprune.recipe.base import AgainstConfig
from mlprune.steps.compare.differences import CompareJob
from mlprune.steps.compare.overlaps import (
    MOST_OVERLAPS,
    PUBLISHED_SHARE,
    FeatureOverlapJob,
    MaskOverlapJob,
    MaskPairs,
    overlap_pairs,
)
from mlprune.steps.compare.rank_consistency import RankConsistencyJob, compares_ranks
from mlprune.steps.compare.seeds import SeedComponentsJob, SeedEvaluations, seed_components_job, seed_groups
from mlprune.steps.inputs import Inputs
from mlprune.steps.job import Job
from mlprune.steps.observe.passes import PlannedObservation
from mlprune.steps.tasks.evaluation import EvaluationSpec, Families, families_of
from mlprune.steps.variants.base_variant import control_pairs
from mlprune.steps.variants.planned_variant import PlannedVariant
from mlprune.vocabulary import ProfileName

Evaluations = Mapping[str, tuple[EvaluationSpec, ...]]
AllFamilies = Mapping[str, Families]
"""Variant id -> its evaluations."""


def comparison_jobs(
    variants: Mapping[str, PlannedVariant],
    evaluations: Evaluations,
    *,
    most_overlaps: int = MOST_OVERLAPS,
    mask_pairs: MaskPairs = "all",
    asked: Mapping[str, Sequence[AgainstConfig]] = MappingProxyType({}),
) -> list[Job]:
    """Plan the jobs that compare variants.

    Args:
        most_overlaps: largest number of pairs of variants whose masks are compared.
        mask_pairs: which pairs these are; see `AnalysesConfig`.
        asked: name of an entry -> the entries that questions compare it with.
    """
    families = {variant: families_of(evaluations[variant]) for variant in variants}
    return [
        *(job for pair in _compared(variants, asked) for job in _compare(*pair, families)),
        *(job for variant in variants for job in _rank(variant, next(iter(variants)), families)),
        *_seed_components(variants, families),
        *map(MaskOverlapJob, overlap_pairs(variants.values(), most=most_overlaps, choice=mask_pairs)),
    ]


def feature_overlap_jobs(
    inputs: Inputs, observed: Sequence[PlannedObservation], *, shares: Sequence[float], profiles: Sequence[ProfileName]
) -> Iterator[FeatureOverlapJob]:
    """Yield a job for each profile, pair of demonstration sets and share.

    Args:
        observed: the passes over the recipe's sets, whose features are compared.
        shares: shares of the features that count as large and as small; the profile `paper` has one of its own.
    Raises:
        RecipeError: a share is smaller than one feature of this model.
    """
    for profile in profiles:
        of_profile = (PUBLISHED_SHARE,) if profile == "paper" else shares
        yield from _feature_overlaps(inputs, observed, shares=of_profile, profile=profile)


def _compared(
    variants: Mapping[str, PlannedVariant], asked: Mapping[str, Sequence[AgainstConfig]]
) -> Iterator[tuple[str, str]]:
    """Yield (variant, baseline): every variant with dense, and with the comparable variants that its entries name.

    One that is derived from another is also compared with its parent, and one without the neurons of a language
    with its controls.

    Raises:
        RecipeError: an entry asks to compare a variant with nothing but itself.
    """
    dense, *others = variants.values()
    named: dict[str, dict[str, PlannedVariant]] = defaultdict(dict)
    for variant in others:
        for entry in variant.entries:
            named[entry.name or ""][variant.id] = variant
    pairs: dict[tuple[str, str], None] = {(variant.id, dense.id): None for variant in others}
    pairs |= {(one.id, parent.id): None for one in others for parent in one.lineage[1:2]}
    pairs |= dict.fromkeys(control_pairs(variant.spec for variant in others))
    for variant in others:
        _refuse_itself(variant, named)
        for entry in variant.entries:
            for against in (*entry.against, *asked.get(entry.name or "", ())):
                for baseline in named[against.name].values():
                    if variant.is_comparable_with(baseline, ignore=against.ignore):
                        pairs[variant.id, baseline.id] = None
    yield from pairs


def _refuse_itself(variant: PlannedVariant, named: Mapping[str, Mapping[str, PlannedVariant]]) -> None:
    """Refuse an entry whose `against` names only the variant itself. An entry of several variants may name itself.

    Raises:
        RecipeError: it does.
    """
    for entry in variant.entries:
        for against in entry.against:
            if set(named.get(against.name, ())) == {variant.id}:
                message = "a variant is compared with itself"
                expected = "the name of another entry, or no key against: every variant is compared with dense"
                raise RecipeError(message, entry=entry.name, key="against", expected=expected, got=against.name)


def _compare(variant: str, baseline: str, families: AllFamilies) -> Iterator[CompareJob]:
    """Yield a job for each task and split on which both were evaluated."""
    for family, by_language in families[variant].items():
        of_baseline = families[baseline].get(family, {})
        pairs = [
            (evaluation, of_baseline[language])
            for language, evaluation in by_language.items()
            if language in of_baseline
        ]
        if pairs:
            yield CompareJob.of_pairs(pairs)


def _rank(variant: str, dense: str, families: AllFamilies) -> Iterator[RankConsistencyJob]:
    """Yield a job for each task with candidates and split that was evaluated in several languages."""
    of_dense = {} if variant == dense else families[dense]
    for family, by_language in families[variant].items():
        if compares_ranks(family) and len(by_language) > 1:
            in_dense = of_dense.get(family, {})
            baselines = [in_dense[language] for language in by_language if language in in_dense]
            yield RankConsistencyJob(tuple(by_language.values()), tuple(baselines))


def _seed_components(variants: Mapping[str, PlannedVariant], families: AllFamilies) -> Iterator[SeedComponentsJob]:
    """Yield a job for each group of variants that differ in nothing but a seed, and each task and split."""
    dense = next(iter(variants))
    for group in seed_groups(variants.values()):
        for family, in_dense in families[dense].items():
            seeds = [
                SeedEvaluations(seed, variant, tuple(families[variant][family].values()))
                for seed, variant in group.variants
                if family in families[variant]
            ]
            job = seed_components_job(group.source, seeds, baseline_id=dense, baselines=list(in_dense.values()))
            if job is not None:
                yield job


def _feature_overlaps(
    inputs: Inputs, observed: Sequence[PlannedObservation], *, shares: Sequence[float], profile: ProfileName
) -> Iterator[FeatureOverlapJob]:
    """Yield the jobs of one profile."""
    n_features = as_int(inputs.base_row["hidden_size"])
    for share in shares:
        if round(share * n_features) == 0:
            message, expected = "a share is smaller than one feature", f"at least half of 1/{n_features}"
            raise RecipeError(message, key="analyses.overlap_shares", expected=expected, got=share)
    by_set = {planned.demonstration_set_id: planned.identity.id for planned in observed}
    for first, second in combinations(sorted(by_set), 2):
        statistics = (by_set[first], by_set[second])
        for share in shares:
            yield FeatureOverlapJob(statistics, share, profile)
