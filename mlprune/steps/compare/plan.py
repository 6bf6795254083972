"""Plan the comparisons: against dense, against what the recipe names, between languages, masks and features."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations

from mlprune.errors import RecipeError
from mlprune.steps.compare.jobs import (
    MOST_OVERLAPS,
    OVERLAP_SHARE,
    CompareJob,
    FeatureOverlapJob,
    MaskOverlapJob,
    RankConsistencyJob,
    compares_ranks,
)
from mlprune.steps.compare.mask_pairs import overlap_pairs
from mlprune.steps.evaluate.evaluation import EvaluationSpec
from mlprune.steps.evaluate.task_spec import TaskSpec
from mlprune.steps.inputs import Inputs
from mlprune.steps.job import Job, make_identity
from mlprune.steps.observe.plan import PlannedObservation
from mlprune.steps.prune.plan import PlannedVariant

Evaluations = Mapping[str, tuple[EvaluationSpec, ...]]


def comparison_jobs(
    inputs: Inputs,
    observed: Sequence[PlannedObservation],
    variants: Mapping[str, PlannedVariant],
    evaluations: Evaluations,
    *,
    shares: Sequence[float] = (OVERLAP_SHARE,),
    most_overlaps: int = MOST_OVERLAPS,
) -> list[Job]:
    """All jobs that compare.

    Args:
        observed: the passes over the recipe's sets, whose features are compared.
        shares: of the features that count as large and as small.
        most_overlaps: pairs of variants whose masks are compared, at most.
    """
    return [
        *(job for pair in _compared(variants) for job in _compare(*pair, evaluations)),
        *(job for variant in variants for job in _rank(variant, evaluations[variant])),
        *_mask_overlaps(overlap_pairs(variants.values(), most=most_overlaps)),
        *_feature_overlaps(inputs, observed, shares=shares),
    ]


def _compared(variants: Mapping[str, PlannedVariant]) -> Iterator[tuple[str, str]]:
    """(variant, baseline): every variant against dense, and against what its entries name where the two agree."""
    dense, *others = variants.values()
    named: dict[str, dict[str, PlannedVariant]] = defaultdict(dict)
    for one in others:
        for entry in one.entries:
            named[entry.name or ""][one.id] = one
    pairs: dict[tuple[str, str], None] = {(one.id, dense.id): None for one in others}
    for one in others:
        found = {key: other for entry in one.entries for name in entry.against for key, other in named[name].items()}
        pairs |= {(one.id, other.id): None for other in found.values() if one.is_comparable_with(other)}
    yield from pairs


def _families(evaluations: tuple[EvaluationSpec, ...]) -> dict[TaskSpec, dict[str, EvaluationSpec]]:
    """Evaluations that differ in their language only: (task without language) -> language -> evaluation."""
    families: dict[TaskSpec, dict[str, EvaluationSpec]] = defaultdict(dict)
    for evaluation in evaluations:
        families[replace(evaluation.task, language="")][evaluation.task.language] = evaluation
    return families


def _compare(variant: str, baseline: str, evaluations: Evaluations) -> Iterator[CompareJob]:
    """One job for each task and split both were evaluated on."""
    theirs = _families(evaluations[baseline])
    for family, ours in _families(evaluations[variant]).items():
        languages = [language for language in ours if language in theirs.get(family, {})]
        pairs = tuple((ours[language], theirs[family][language]) for language in languages)
        if pairs:
            parents = {
                "evaluations": [one.identity.id for one, _ in pairs],
                "baseline_evaluations": [other.identity.id for _, other in pairs],
            }
            yield CompareJob(make_identity("comparisons", parents=parents), variant, baseline, pairs)


def _rank(variant: str, evaluations: tuple[EvaluationSpec, ...]) -> Iterator[RankConsistencyJob]:
    """One job for each task with candidates, and split, that has several languages."""
    for family, found in _families(evaluations).items():
        if compares_ranks(family) and len(found) > 1:
            parents = {"evaluations": [one.identity.id for one in found.values()]}
            yield RankConsistencyJob(make_identity("rank_consistency", parents=parents), variant, tuple(found.values()))


def _mask_overlaps(pairs: Sequence[tuple[str, str]]) -> Iterator[MaskOverlapJob]:
    """One job for each pair of variants whose masks are compared."""
    for pair in pairs:
        yield MaskOverlapJob(make_identity("mask_overlaps", parents={"variants": list(pair)}), pair)


def _feature_overlaps(
    inputs: Inputs, observed: Sequence[PlannedObservation], *, shares: Sequence[float]
) -> Iterator[FeatureOverlapJob]:
    """All pairs of demonstration sets, at every share.

    Raises:
        RecipeError: a share picks no feature of this model.
    """
    n_features = int(inputs.base_row["hidden_size"])
    for share in shares:
        if round(share * n_features) == 0:
            message, expected = "a share of the features picks none", f"at least half of 1/{n_features}"
            raise RecipeError(message, key="analyses.overlap_shares", expected=expected, got=share)
    by_set = {one.demonstration_set_id: one.identity.id for one in observed}
    for first, second in combinations(sorted(by_set), 2):
        statistics = (by_set[first], by_set[second])
        for share in shares:
            identity = make_identity("feature_overlaps", {"share": share}, parents={"statistics": list(statistics)})
            yield FeatureOverlapJob(identity, inputs.base.id, (first, second), statistics, share)
