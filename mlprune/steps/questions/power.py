"""What a question can find with the items that it has, before its run: from the task files and from stored results."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass, replace
from statistics import fmean, median
from typing import NamedTuple

from mlprune.counted import counted
from mlprune.evaluation.inference.minima import SHARE_OF_EXCLUSION
from mlprune.json_values import as_float
from mlprune.numeric.statistics.clusters import SMALLEST_P_VALUE
from mlprune.numeric.statistics.power import (
    PairedTest,
    detectable_difference,
    detectable_difference_of_items,
    detectable_difference_of_mean,
    fewest_changed,
    items_for_margin,
    testable_margin,
    testable_margin_of_estimate,
)
from mlprune.numeric.statistics.sign_flips import N_DRAWS, N_FLIPS
from mlprune.numeric.statistics.variance_components import ErrorNumbers, ErrorParts
from mlprune.steps.compare.differences import CompareJob
from mlprune.steps.questions.answers import ALPHA, BINARY, unpaired_seeds
from mlprune.steps.questions.asked import PlannedQuestion, evaluations_of
from mlprune.steps.questions.evidence import Criterion, find_row
from mlprune.steps.tasks.evaluation import EvaluationSpec, task_data
from mlprune.steps.tasks.task_spec import TaskSpec
from mlprune.store.store import Store
from mlprune.vocabulary import LOG_RATIO, METRIC_TRAITS, NATS

CHANGED_SHARE = 0.2
"""Share of the answers that is assumed to change, in either direction, before there are results."""
LARGE_GAIN = 0.05
"""Smallest significant gain from which on a question is called too weak."""
SEEDS_SHARE = 0.2
"""Share of the squared error of a mean over seeds that is assumed to come from the seeds, before there are results: the
median of the 93 means in docs/stores is 0.21, their quartiles are 0.06 and 0.52."""
ENOUGH_SEEDS = 5
"""Number of seeds that a mean over fewer is compared with."""
MID_P: PairedTest = "mcnemar_mid_p"
"""Test of the smallest significant difference: sign flips of independent items of equal size are McNemar's mid-p."""
MOST_EXACT_ITEMS = 20_000
"""Number of items up to which the power is exact; above, it is that of a normal distribution."""


@dataclass(frozen=True)
class Power:
    """What a question can find."""

    question: PlannedQuestion
    n_questions: int
    """Number of primary questions of the recipe, which share the level of 5 %."""
    n_languages: int
    n_answers: int
    """Items of all languages of the group; of the group `worst`, the items of one language."""
    n_clusters: int
    """Different clusters of items, which languages share."""
    smallest_significant: float | None
    """Smallest difference that can be significant after correction, if all changes go in one direction."""
    detectable: float | None
    """True difference that is found with a power of 80 % if the error is as estimated; None if there is nothing to
    estimate it from, and for the margin of a mean over variants."""
    n_stored: int
    """Number of stored comparisons from which the power is estimated; 0 if `CHANGED_SHARE` is assumed."""
    testable_margin: float | None
    """One language: the smallest margin that can be shown, if no right answer is lost. Several languages, or a mean
    over variants: the margin that is shown with a power of 80 % if the true difference is 0."""
    headroom: float | None
    """Largest possible gain of a binary metric over the first baseline; None before the baseline was evaluated."""
    ratio_of_five_seeds: float | None = None
    """What five seeds would find, as a share of what the seeds of a mean find; None without seeds or from five on."""

    @property
    def n_family(self) -> int:
        """Number of tests in the family: the smallest p-value is compared with 5 % divided by it."""
        return self.n_questions * self.question.n_tests

    @property
    def found(self) -> float | None:
        """The gain that is found, or the margin that is shown."""
        return self.detectable if self.question.criterion.margin is None else self.testable_margin

    @property
    def seeds_text(self) -> str | None:
        """What five seeds would find, in a few words; None if that is not asked."""
        if self.ratio_of_five_seeds is None:
            return None
        if self.found is None:
            return f"5 seeds find {100 * self.ratio_of_five_seeds:.0f} % of it"
        return f"5 seeds: {self.amount(self.ratio_of_five_seeds * self.found)}"

    @property
    def is_binary(self) -> bool:
        """Whether an item is right or wrong."""
        return self.question.criterion.metric in BINARY

    @property
    def is_of_items(self) -> bool:
        """Whether the margin is that of right and wrong items of one language, which hold without an assumption."""
        return self.is_binary and self.n_languages == 1 and self.question.criterion.over == "each"

    def amount(self, value: float) -> str:
        """Format a difference: points, percent of perplexity, whose differences are log ratios, or nats."""
        scale = METRIC_TRAITS[self.question.criterion.metric].scale
        if scale == LOG_RATIO:
            return f"{100 * math.expm1(value):.1f} % of perplexity"
        if scale == NATS:
            return f"{value:.3g} nats"
        return f"{100 * value:.1f} points"

    @property
    def smallest_p(self) -> float:
        """The smallest p-value that a test of the question can reach."""
        return smallest_p_value(self.question.criterion, self.n_clusters)

    @property
    def weakness(self) -> str | None:
        """Why no result can support the claim, in a few words; None if one can."""
        criterion, n_tests = self.question.criterion, self.n_family
        if criterion.margin is not None:
            is_small = self.testable_margin is not None and criterion.margin <= self.testable_margin
            return f"can only show {self.amount(self.testable_margin or 0.0)}" if is_small else None
        if n_tests * self.smallest_p >= ALPHA:
            return f"cannot decide, smallest corrected p {min(1.0, n_tests * self.smallest_p):.2g}"
        if self.is_binary and self.detectable is not None and self.detectable >= 1:
            return "cannot decide, too few seeds"
        if self.headroom is not None and self.headroom < (self.smallest_significant or 0.0):
            return f"cannot decide, the baseline is {self.amount(self.headroom)} below the best value"
        return None

    @property
    def unknown_reason(self) -> str:
        """Why `detectable` or `testable_margin` is None, in a few words."""
        if self.is_binary or self.n_stored:
            return f"too few items, {self.n_answers}"
        return f"no {self.question.criterion.metric} measured yet"

    def warnings(self) -> Iterator[str]:
        """Yield what the question cannot answer, one line each."""
        n_tests = self.n_family
        if self.question.criterion.claim == "gain" and n_tests * self.smallest_p >= ALPHA:
            yield (
                f"{counted(n_tests, 'test')} cannot decide: the smallest p-value of one is {self.smallest_p:.2g}, "
                f"after correction {min(1.0, n_tests * self.smallest_p):.2g}"
            )
        yield from self._margin_warnings()
        yield from self._gain_warnings()
        if self.question.n_seeds == 1:
            yield "conditional on one draw of demonstrations: seeds 0 to 4 would show their variation"
        if self.ratio_of_five_seeds is not None:
            n_seeds = f"{self.question.n_seeds} seeds" if self.question.n_seeds else "few seeds of the baseline"
            found = "" if self.found is None else f" {self.amount(self.found)};"
            yield f"{n_seeds} find{found} {self.seeds_text}"
        if self.question.n_left_out:
            yield f"{self.question.n_left_out} comparisons are left out, because they lack a language of the group"

    def _margin_warnings(self) -> Iterator[str]:
        margin, testable = self.question.criterion.margin, self.testable_margin
        if margin is None or testable is None or margin > testable:
            return
        if self.is_of_items:
            needed = items_for_margin(margin, alpha=ALPHA / self.n_family)
            yield (
                f"a margin of {self.amount(margin)} needs about {needed} independent items{self._family}, "
                f"{self.question.criterion.group.text} has {self._units}: "
                f"the smallest testable margin is {self.amount(testable)}"
            )
        else:
            shown = self.amount(testable)
            yield f"a margin of {self.amount(margin)} is too small: {shown} can be shown with 80 % power"

    def _gain_warnings(self) -> Iterator[str]:
        smallest, group = self.smallest_significant, self.question.criterion.group.text
        if self.question.criterion.claim != "gain" or smallest is None:
            return
        if smallest > LARGE_GAIN:
            n_items = f"{group} has {self.n_answers} items"
            yield f"no gain below {self.amount(smallest)} can be significant{self._family}: {n_items}"
        if self.headroom is not None and self.headroom < smallest:
            yield f"the baseline is {self.amount(self.headroom)} below the best value: no gain can be significant"

    @property
    def _family(self) -> str:
        return f" in a family of {self.n_family} tests" if self.n_family > 1 else ""

    @property
    def _units(self) -> str:
        return f"{self.n_answers}" + (f" in {self.n_clusters} clusters" if self.n_clusters < self.n_answers else "")


def smallest_p_value(criterion: Criterion | None, n_clusters: int) -> float:
    """Return the smallest p-value that a test of a difference can reach; None for a sum over clusters.

    All C clusters change in one direction: 1.5 / 2^C under all sign vectors. Exchanges of other metrics than means draw
    at most 999,900 of them, the test of the worst language 9,999.
    """
    of_clusters = max(1.5 * 2.0 ** -min(n_clusters, 1000), SMALLEST_P_VALUE)
    if criterion is None or criterion.group_kind == "worst":
        return of_clusters if criterion is None else max(2 * of_clusters, 2 / (N_FLIPS + 1)) / (1 - SHARE_OF_EXCLUSION)
    if criterion.metric in (*BINARY, "perplexity") or METRIC_TRAITS[criterion.metric].measure:
        return of_clusters
    return max(of_clusters, 1 / (N_DRAWS * N_FLIPS + 1))


@dataclass(frozen=True)
class ExploratoryFamily:
    """The comparisons of single languages of a task with one kind of baseline, of which each metric is a family."""

    task: str
    is_against_dense: bool
    n_tests: int
    """Tests of one metric, with those that primary questions take out."""
    n_clusters: int
    """Clusters of items in the language that has fewest."""

    @property
    def can_decide(self) -> bool:
        """Whether Holm's correction can reject one of the tests of sums over clusters."""
        return self.n_tests * smallest_p_value(None, self.n_clusters) < ALPHA


def exploratory_families(comparisons: Iterable[CompareJob], *, dense: Set[str]) -> list[ExploratoryFamily]:
    """Return the exploratory families of the comparisons on test, in their order.

    Args:
        dense: ids of the dense models.
    """
    members: dict[tuple[TaskSpec, bool], list[EvaluationSpec]] = {}
    for job in comparisons:
        if job.family.split == "test":
            key = (job.family, job.baseline_id in dense)
            members.setdefault(key, []).extend(variant for variant, _ in job.pairs)
    families = []
    for (task, is_against_dense), evaluations in members.items():
        items = [task_data(spec).items for spec in {evaluation.task: None for evaluation in evaluations}]
        n_clusters = min(len({item.cluster or item.example_id for item in of_language}) for of_language in items)
        families.append(ExploratoryFamily(task.task, is_against_dense, len(evaluations), n_clusters))
    return families


def power_of(question: PlannedQuestion, store: Store, *, n_questions: int = 1) -> Power:
    """Return what a question can find.

    Differences are those of a test at 5 % divided by the number of tests in the family. Before there are results,
    `CHANGED_SHARE` of the answers is assumed to change, independently in every item, language and comparison; this is
    optimistic, and the answer itself uses clusters. Clusters count as (number of items)^2 / sum of squared sizes.
    Comparisons that differ in seeds are not further items: seeds are a sample of their own, with `SEEDS_SHARE` of the
    squared error.

    Args:
        n_questions: number of primary questions of the recipe, with this one.
    """
    evaluations = evaluations_of(question, question.comparisons[0])
    items = [task_data(evaluation.task).items for evaluation in evaluations]
    is_worst, is_mean = question.criterion.group_kind == "worst", question.criterion.over == "mean"
    n_answers = min(map(len, items)) if is_worst else sum(map(len, items))
    clusters = Counter(item.cluster or item.example_id for of_language in items for item in of_language)
    is_binary = question.criterion.metric in BINARY
    power = Power(
        question,
        n_questions=n_questions,
        n_languages=len(evaluations),
        n_answers=n_answers,
        n_clusters=len(clusters),
        smallest_significant=None,
        detectable=None,
        n_stored=0,
        testable_margin=None,
        headroom=_headroom(question, store) if is_binary else None,
    )
    return _power_of_mean(power, store) if is_mean else _power_of_each(power, store, clusters)


def _power_of_each(power: Power, store: Store, clusters: Counter[str]) -> Power:
    question, n_tests = power.question, power.n_family
    errors = _stored_errors(question, store)
    assumed = math.sqrt(CHANGED_SHARE / power.n_answers) if power.is_binary else None
    error = median(errors) if errors else assumed
    detectable = None if error is None else detectable_difference(error, n_tests=n_tests)
    if power.is_binary and not errors and power.n_answers <= MOST_EXACT_ITEMS:
        detectable = detectable_difference_of_items(power.n_answers, CHANGED_SHARE, n_tests=n_tests, test=MID_P)
    smallest = None
    is_independent = power.n_languages == 1 and len(clusters) == power.n_answers
    if power.is_binary:
        fewest = fewest_changed(n_tests=n_tests, test="tango" if is_independent else MID_P)
        smallest = fewest / power.n_answers if fewest <= len(clusters) else None
        detectable = max(detectable, smallest) if detectable and smallest else detectable
    margin = _testable_margin(power, clusters, error)
    power = replace(power, detectable=detectable, smallest_significant=smallest, testable_margin=margin)
    return replace(power, n_stored=len(errors))


def _testable_margin(power: Power, clusters: Counter[str], error: float | None) -> float | None:
    alpha = ALPHA / power.n_family
    if power.is_of_items:
        n_effective = clusters.total() ** 2 / sum(size**2 for size in clusters.values())
        return testable_margin(n_effective, alpha=alpha)
    if error is None:
        return None
    is_two_sided = power.question.criterion.claim == "equivalent"
    return testable_margin_of_estimate(error, alpha=alpha, is_two_sided=is_two_sided)


class _MeanError(NamedTuple):
    """Error of a mean over variants."""

    parts: ErrorParts
    n_seeds: int
    n_baseline_seeds: int
    n_clusters: int

    @property
    def is_of_few_seeds(self) -> bool:
        """Whether a side has several seeds, but fewer than five."""
        return any(1 < n < ENOUGH_SEEDS for n in (self.n_seeds, self.n_baseline_seeds))

    @property
    def of_five_seeds(self) -> "_MeanError":
        """The error with at least five seeds on each side that has several."""
        n_seeds, n_baseline_seeds = (
            max(ENOUGH_SEEDS, n) if n > 1 else n for n in (self.n_seeds, self.n_baseline_seeds)
        )
        seeds = self.parts.seeds * self.n_seeds / max(1, n_seeds)
        baseline_seeds = self.parts.baseline_seeds * self.n_baseline_seeds / max(1, n_baseline_seeds)
        parts = ErrorParts(seeds, baseline_seeds, self.parts.items)
        return _MeanError(parts, n_seeds, n_baseline_seeds, self.n_clusters)

    def detectable(self, power: Power) -> float:
        """Return the difference that a question finds with this error."""
        return detectable_difference_of_mean(
            self.parts,
            ErrorNumbers(self.n_seeds, self.n_baseline_seeds, self.n_clusters),
            claim=power.question.criterion.claim,
            n_tests=power.n_family,
        )


def _power_of_mean(power: Power, store: Store) -> Power:
    question = power.question
    n_seeds, n_baseline_seeds = question.n_seeds, len(unpaired_seeds(question.seeds_of_pairs))
    record = store.read_record(*question.identity.key)
    rows = [] if record is None else [row for row in record.rows["answers"] if row.get("error_of_items") is not None]
    n_sides = (n_seeds > 1) + (n_baseline_seeds > 1)
    of_side = SEEDS_SHARE / max(1, n_sides)
    parts = ErrorParts(of_side * (n_seeds > 1), of_side * (n_baseline_seeds > 1), 1 - of_side * n_sides)
    if rows:
        parts = ErrorParts(*(as_float(rows[0][f"error_of_{name}"]) ** 2 for name in ErrorParts._fields))
    elif power.is_binary:
        n_observed = power.n_answers * len(question.comparisons) / (max(1, n_seeds) * max(1, n_baseline_seeds))
        parts = ErrorParts(*(CHANGED_SHARE / n_observed * part for part in parts))
    if power.n_clusters < 2 or not any(parts):
        return replace(power, n_stored=len(rows))
    error = _MeanError(parts, n_seeds, n_baseline_seeds, power.n_clusters)
    found = error.detectable(power)
    ratio = error.of_five_seeds.detectable(power) / found if error.is_of_few_seeds else None
    power = replace(power, n_stored=len(rows), ratio_of_five_seeds=ratio)
    if not rows and not power.is_binary:
        return power
    is_gain = question.criterion.margin is None
    return replace(power, detectable=found) if is_gain else replace(power, testable_margin=found)


def _headroom(question: PlannedQuestion, store: Store) -> float | None:
    """Return 1 minus the baseline's value, from stored evaluations of all languages; `worst`: of the lowest one."""
    baselines = [pair[1] for pair in question.comparisons[0].pairs if pair[1].task.language in question.languages]
    records = [store.read_record(*baseline.identity.key) for baseline in baselines]
    values = [
        as_float(row["value"])
        for record in records
        if record is not None
        for row in record.rows["metrics"]
        if row["metric"] == question.criterion.metric
    ]
    if len(values) < len(baselines):
        return None
    return 1 - (min(values) if question.criterion.group_kind == "worst" else fmean(values))


def _stored_errors(question: PlannedQuestion, store: Store) -> list[float]:
    """Return the standard errors of the comparisons of a question that are already in the store."""
    records = (store.read_record(*comparison.identity.key) for comparison in question.comparisons)
    found = (find_row(record, question.criterion) for record in records if record is not None)
    rows = [row for row in found if row is not None]
    return [as_float(row["standard_error"]) for row in rows if row.get("standard_error") is not None]
