"""Answers to questions from the records of comparisons: jobs and catalog rows. They run no model."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple

import numpy as np

from mlprune.evaluation.inference.estimates import finite, flips_of, interval_columns
from mlprune.evaluation.inference.methods import compare
from mlprune.hashing import with_defaults
from mlprune.json_values import JsonValue, Row, as_float
from mlprune.numeric.arrays import Array
from mlprune.numeric.statistics.bootstrap import NOISE
from mlprune.numeric.statistics.clusters import ratio_estimate
from mlprune.numeric.statistics.sign_flips import sign_flip_test
from mlprune.numeric.statistics.variance_components import (
    CrossedEstimate,
    ErrorParts,
    crossed_estimate,
    unpaired_estimate,
)
from mlprune.steps.compare.differences import CompareJob, read_pair
from mlprune.steps.declared_job import StoredWork
from mlprune.steps.job import ChainLoader, Identity, RecordKey, SmallJob
from mlprune.steps.questions.asked import PlannedQuestion, languages_in, stored_seed
from mlprune.steps.questions.evidence import (
    SIGN_FLIP,
    ClusterEstimate,
    Criterion,
    Estimate,
    Evidence,
    aligned,
    estimate_of,
    estimate_of_error,
    margin_p_value,
    opposite_p_value,
    read_evidence,
)
from mlprune.steps.tasks.evaluation import EvaluationSpec
from mlprune.store.records import Record
from mlprune.store.store import Store
from mlprune.vocabulary import METRIC_TRAITS

ALPHA = 0.05
BINARY = ("accuracy", "exact_match")
"""Metrics of which an item has the value 0 or 1."""
CROSSED, STUDENT = "crossed_t", "student"
"""Tests and intervals of a mean over seeds and clusters, and from standard errors alone."""
_OF_COMPARISON = (
    "difference", "scale", "ci_low", "ci_high", "ci90_low", "ci90_high", "interval", "standard_error",
    "p_value", "test",
)  # fmt: skip
"""Columns that an answer has from its comparison."""


@dataclass(frozen=True)
class Compared:
    """One comparison of a question with what its record says."""

    comparison_id: str
    variant_id: str
    baseline_id: str
    n_languages: int
    seed: int | None
    chance: float | None
    """Mean chance level of the baseline's evaluations."""
    dtype: str
    """Dtype of weights and arithmetic of the baseline's evaluations."""
    evidence: Evidence
    baseline_seed: int | None = None


def unpaired_seeds(pairs: Iterable[tuple[int | None, int | None]]) -> list[int]:
    """Return the seeds of the baselines if they are not those of their variants, in ascending order; otherwise none.

    Args:
        pairs: (seed of the variant, seed of the baseline) of each comparison; None if nothing is drawn.
    """
    unique = set(pairs)
    if all(baseline_seed in (None, seed) for seed, baseline_seed in unique):
        return []
    return sorted({baseline_seed for _, baseline_seed in unique if baseline_seed is not None})


def answer_rows(question_id: str, criterion: Criterion, compared: Sequence[Compared]) -> list[Row]:
    """Return the rows that answer a question.

    over each: differences, 95 % intervals and p-values are those of the comparisons. If comparisons do not test the
    metric, they are computed from the predictions.
    over mean: the mean of the differences with equal weights. Clusters are resampled across languages and variants:
    the contributions of a cluster are averaged over the comparisons first, and signs are flipped for the averages. With
    several seeds, `crossed_estimate` of the table of seeds and clusters: the mean over the comparisons of one seed of
    C * (contribution - difference * size) + difference, sizes adding up to 1. A baseline with several seeds of its own
    (`unpaired_seeds`) has a second table, of these seeds (`unpaired_estimate`). Seeds and items without any variation
    have the sign-flip interval of what was not seen. If the differences are not sums, the
    error of the items is the mean of the standard errors, which is never too small.

    P-values are not corrected: the questions of a recipe share one family, which the catalog knows (`question_tests`).
    So does the power of the tests, which depends on its size.
    """
    if criterion.over == "mean":
        rows = [_row_of_mean(criterion, compared)]
    else:
        rows = [_row_of_one(part, criterion) for part in compared]
    return [
        {
            "question_id": question_id,
            **row,
            "margin": criterion.margin,
        }
        for row in rows
    ]


def _row_of_one(part: Compared, criterion: Criterion) -> Row:
    row = part.evidence.row
    return {
        "comparison_id": part.comparison_id,
        "variant_id": part.variant_id,
        "baseline_id": part.baseline_id,
        "n_variants": 1,
        "n_languages": part.n_languages,
        "n_items": part.evidence.n_items,
        "n_clusters": part.evidence.n_clusters,
        "n_seeds": int(part.seed is not None),
        "n_baseline_seeds": len(unpaired_seeds([(part.seed, part.baseline_seed)])),
        **{name: row[name] for name in _OF_COMPARISON},
        **_margin_columns(estimate_of(part.evidence), criterion),
        "chance": part.chance,
        "dtype": part.dtype,
        "conditional_on_one_draw": part.seed is not None,
    }


def _row_of_mean(criterion: Criterion, compared: Sequence[Compared]) -> Row:
    evidence = [part.evidence for part in compared]
    seeds = sorted({part.seed for part in compared if part.seed is not None})
    baseline_seeds = unpaired_seeds((part.seed, part.baseline_seed) for part in compared)
    estimate, test = _pooled(compared, seeds, baseline_seeds)
    difference, p_value, error = _described(estimate)
    interval, narrow = (estimate.interval(level) for level in (1 - ALPHA, 1 - 2 * ALPHA))
    n_languages, n_items = compared[0].n_languages, evidence[0].n_items
    baselines = {part.baseline_id for part in compared}
    chances = [part.chance for part in compared if part.chance is not None]
    return {
        "comparison_id": "",
        "variant_id": None,
        "baseline_id": baselines.pop() if len(baselines) == 1 else None,
        "n_variants": len({part.variant_id for part in compared}),
        "n_languages": n_languages,
        "n_items": n_items,
        "n_clusters": max(part.n_clusters for part in evidence),
        "n_seeds": len(seeds),
        "n_baseline_seeds": len(baseline_seeds),
        "difference": difference,
        "scale": evidence[0].row["scale"],
        **interval_columns("ci", interval),
        "interval": test,
        "standard_error": finite(error),
        **_error_columns(estimate, error),
        "p_value": p_value,
        "test": test,
        **interval_columns("ci90", narrow),
        **_margin_columns(estimate, criterion),
        "chance": sum(chances) / len(chances) if chances else None,
        "dtype": compared[0].dtype,
        "conditional_on_one_draw": 1 in (len(seeds), len(baseline_seeds)),
    }


def _error_columns(estimate: ClusterEstimate | CrossedEstimate, error: float) -> Row:
    """Return the parts of a standard error, whose squares add up to its square."""
    parts = estimate.parts if isinstance(estimate, CrossedEstimate) else ErrorParts(0.0, 0.0, error**2)
    return {f"error_of_{name}": finite(part**0.5) for name, part in parts._asdict().items()}


def _pooled(
    compared: Sequence[Compared], seeds: Sequence[int], baseline_seeds: Sequence[int]
) -> tuple[ClusterEstimate | CrossedEstimate, str]:
    """Return the estimate of the mean of several comparisons, and the name of its test."""
    evidence = [part.evidence for part in compared]
    n_clusters = max(part.n_clusters for part in evidence)
    differences = np.array([part.difference for part in evidence])
    value = float(differences.mean())
    masks = [np.array([part.seed == seed for part in compared]) for seed in seeds]
    baseline_masks = [np.array([part.baseline_seed == seed for part in compared]) for seed in baseline_seeds]
    sides = [side if len(side) > 1 else [] for side in (masks, baseline_masks)]
    is_drawn_once = not any(sides) or n_clusters < 2
    if all(part.clusters for part in evidence):
        contributions, sizes = aligned(evidence)
        is_bounded = not any(part.is_log for part in evidence)
        of_clusters = ClusterEstimate(contributions.mean(axis=1), sizes.mean(axis=1), is_bounded)
        if is_drawn_once:
            return of_clusters, SIGN_FLIP
        pseudo_values = len(sizes) * (contributions - differences * sizes) + differences
        tables = [np.array([pseudo_values[:, mask].mean(axis=1) for mask in side]) for side in sides]
        crossed = replace(_crossed(*tables), value=value)
        return (of_clusters, SIGN_FLIP) if crossed.standard_error <= NOISE else (crossed, CROSSED)
    error = float(np.mean([part.standard_error for part in evidence]))
    if is_drawn_once:
        return estimate_of_error(value, error, n_clusters=n_clusters), STUDENT
    means = [np.array([differences[mask].mean() for mask in side]) for side in sides]
    of_seeds, of_baseline_seeds = (float(side.var(ddof=1)) / len(side) if len(side) else 0.0 for side in means)
    n_seeds, n_baseline_seeds = (max(2, len(side)) for side in means)
    crossed = CrossedEstimate(value, of_seeds, error**2, n_seeds, n_clusters)
    return replace(crossed, of_baseline_seeds=of_baseline_seeds, n_baseline_seeds=n_baseline_seeds), CROSSED


def _crossed(by_seed: Array, by_baseline_seed: Array) -> CrossedEstimate:
    """Return the mean of tables of seeds and clusters; a side of which nothing is drawn several times is empty."""
    if not len(by_seed):
        return crossed_estimate(by_baseline_seed).of_the_baseline
    return unpaired_estimate(by_seed, by_baseline_seed) if len(by_baseline_seed) else crossed_estimate(by_seed)


def _described(estimate: ClusterEstimate | CrossedEstimate) -> tuple[float, float, float]:
    """Return the difference, its two-sided p-value and its standard error."""
    if isinstance(estimate, CrossedEstimate):
        return estimate.value, estimate.p_value, estimate.standard_error
    ratio = ratio_estimate(estimate.contributions, estimate.sizes)
    flips = flips_of(len(estimate.sizes))
    result = sign_flip_test(estimate.contributions, estimate.sizes, flips, bound=estimate.bound)
    return ratio.value, result.p_value, ratio.standard_error


def _margin_columns(estimate: Estimate, criterion: Criterion) -> Row:
    """Return the p-values of a claim about a margin and of its opposite; None for a gain."""
    claim, margin = criterion.claim, criterion.margin
    if claim == "gain" or margin is None:
        return {"p_margin": None, "p_opposite": None}
    return {
        "p_margin": margin_p_value(estimate, claim, margin, sign=criterion.sign),
        "p_opposite": opposite_p_value(estimate, claim, margin, sign=criterion.sign),
    }


class AnsweringComparison(NamedTuple):
    """One comparison of a question."""

    comparison_id: str
    variant_id: str
    baseline_id: str
    pairs: tuple[tuple[EvaluationSpec, EvaluationSpec], ...]
    """(evaluation of the variant, evaluation of the baseline) for each language of the question."""
    seed: int | None
    """Seed of the variant's demonstrations or score; None if nothing of it is drawn at random."""
    baseline_seed: int | None
    """The same of the baseline."""


@dataclass(frozen=True)
class AnswerJob(SmallJob):
    """Answer one question; its comparisons are the family of its tests."""

    step: ClassVar[str] = "compare"
    criterion: Criterion
    comparisons: tuple[AnsweringComparison, ...]

    @classmethod
    def of_record(cls, record: Record, work: StoredWork) -> "AnswerJob":
        """Return the job that wrote a record."""
        criterion = with_defaults(Criterion, record.parameters)
        records = [work.store.require("comparisons", comparison_id) for comparison_id in record.parents["comparisons"]]
        compared = [CompareJob.of_record(one, work) for one in records]
        languages = languages_in(criterion.group, compared[0])
        comparisons = (
            answering_comparison(
                one,
                languages,
                seeds=(stored_seed(work.store, one.variant_id), stored_seed(work.store, one.baseline_id)),
            )
            for one in compared
        )
        return cls(Identity.of_record(record), criterion, tuple(comparisons))

    @property
    def needs(self) -> tuple[RecordKey, ...]:
        """The comparisons, and the evaluations if comparisons do not test the metric."""
        comparisons = tuple(("comparisons", comparison.comparison_id) for comparison in self.comparisons)
        if METRIC_TRAITS[self.criterion.metric].is_tested:
            return comparisons
        pairs = (pair for comparison in self.comparisons for pair in comparison.pairs)
        return (*comparisons, *dict.fromkeys(evaluation.identity.key for pair in pairs for evaluation in pair))

    def run(self, store: Store, chain: ChainLoader) -> None:
        """Read the comparisons, and write a row for each of them, or one for their mean."""
        compared = [self._read(store, comparison) for comparison in self.comparisons]
        rows = answer_rows(self.identity.id, self.criterion, compared)
        store.write_record(self.identity.record(rows={"answers": rows}))

    def _read(self, store: Store, comparison: AnsweringComparison) -> Compared:
        record = store.require("comparisons", comparison.comparison_id)
        evidence = read_evidence(store, record, self.criterion)
        if evidence.row["test"] is None:
            evidence = replace(evidence, row={**evidence.row, **self._tested_columns(store, *comparison.pairs[0])})
        worst = evidence.row.get("baseline_worst_language")
        baselines = [baseline for _, baseline in comparison.pairs]
        evaluations = [each.identity.id for each in baselines if worst in (None, each.task.language)]
        return Compared(
            comparison.comparison_id,
            comparison.variant_id,
            comparison.baseline_id,
            n_languages=len(comparison.pairs),
            seed=comparison.seed,
            chance=_mean_chance(store, evaluations, metric=self.criterion.metric),
            dtype=str(store.require("evaluations", evaluations[0]).parameters.get("dtype", "float32")),
            evidence=evidence,
            baseline_seed=comparison.baseline_seed,
        )

    def _tested_columns(self, store: Store, evaluation: EvaluationSpec, baseline: EvaluationSpec) -> Row:
        """Return the columns of a difference that its comparison does not test, in one language, with the test."""
        compared = read_pair(store, evaluation, baseline)
        metric = compared.metric(self.criterion.metric)
        return compare([metric], *compared.predictions, asked=[metric.name])[metric.name].columns


def _mean_chance(store: Store, evaluations: Sequence[str], *, metric: str) -> float | None:
    """Return the mean chance level of evaluations; None if the metric has none."""
    chances: list[JsonValue] = [
        row.get("chance")
        for evaluation in evaluations
        for row in store.require("evaluations", evaluation).rows["metrics"]
        if row["metric"] == metric
    ]
    known = [as_float(chance) for chance in chances if chance is not None]
    return sum(known) / len(known) if known and len(known) == len(chances) else None


def answer_jobs(questions: Sequence[PlannedQuestion]) -> list[AnswerJob]:
    """Make one job per question."""
    return [_answer_job(question) for question in questions]


def _answer_job(question: PlannedQuestion) -> AnswerJob:
    comparisons = tuple(
        answering_comparison(job, question.languages, seeds=seeds)
        for job, seeds in zip(question.comparisons, question.seeds_of_pairs, strict=True)
    )
    return AnswerJob(question.identity, question.criterion, comparisons)


def answering_comparison(
    job: CompareJob, languages: Sequence[str], *, seeds: tuple[int | None, int | None]
) -> AnsweringComparison:
    """Return what a question about some languages reads of a comparison.

    Args:
        seeds: of the comparison's variant and baseline.
    """
    pairs = tuple(pair for pair in job.pairs if pair[1].task.language in languages)
    return AnsweringComparison(job.identity.id, job.variant_id, job.baseline_id, pairs, *seeds)
