"""What a question can find with the items that it has, before its run: from the task files and from stored results."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass, replace
from statistics import fmean, median

from mlprune.counted import counted
from mlprune.evaluation.inference.minima import SHARE_OF_EXCLUSION
from mlprune.json_values import as_float
from mlprune.numeric.statistics.clusters import SMALLEST_P_VALUE
from mlprune.numeric.statistics.power import (
    PairedTest,
    detectable_difference,
    detectable_difference_of_items,
    fewest_changed,
    items_for_margin,
    testable_margin,
    testable_margin_of_estimate,
)
from mlprune.numeric.statistics.sign_flips import N_DRAWS, N_FLIPS
from mlprune.steps.compare.differences import CompareJob
from mlprune.steps.questions.answers import ALPHA, BINARY
from mlprune.steps.questions.asked import PlannedQuestion, evaluations_of
from mlprune.steps.questions.evidence import Criterion, find_row
from mlprune.steps.tasks.evaluation import EvaluationSpec, task_data
from mlprune.steps.tasks.task_spec import TaskSpec
from mlprune.store.store import Store

CHANGED_SHARE = 0.2
"""Share of the answers that is assumed to change, in either direction, before there are results."""
LARGE_GAIN = 0.05
"""Smallest significant gain from which on a question is called too weak."""
MID_P: PairedTest = "mcnemar_mid_p"
"""Test of the smallest significant difference: sign flips of independent items of equal size are McNemar's mid-p."""
MOST_EXACT_ITEMS = 20_000
"""Number of items up to which the power is exact; above, it is that of a normal distribution."""


@dataclass(frozen=True)
class Power:
    """What a question can find."""

    question: PlannedQuestion
    n_languages: int
    n_answers: int
    """Items of all languages of the group; of the group `worst`, the items of one language."""
    n_clusters: int
    """Different clusters of items, which languages share."""
    smallest_significant: float | None
    """Smallest difference that can be significant after correction, if all changes go in one direction."""
    detectable: float | None
    """True difference that is found with a power of 80 %; None if there is nothing to estimate it from."""
    n_stored: int
    """Number of stored comparisons from which the power is estimated; 0 if `CHANGED_SHARE` is assumed."""
    testable_margin: float | None
    """One language: the smallest margin that can be shown, if no right answer is lost. Several languages, or a mean
    over variants: the margin that is shown with a power of 80 % if the true difference is 0."""
    headroom: float | None
    """Largest possible gain of a binary metric over the first baseline; None before the baseline was evaluated."""

    @property
    def is_binary(self) -> bool:
        """Whether an item is right or wrong."""
        return self.question.criterion.metric in BINARY

    @property
    def is_of_items(self) -> bool:
        """Whether the margin is that of right and wrong items of one language, which hold without an assumption."""
        return self.is_binary and self.n_languages == 1 and self.question.criterion.over == "each"

    def amount(self, value: float) -> str:
        """Format a difference of the metric: points, or percent of perplexity, whose differences are log ratios."""
        if self.question.criterion.metric == "perplexity":
            return f"{100 * math.expm1(value):.1f} % of perplexity"
        return f"{100 * value:.1f} points"

    @property
    def smallest_p(self) -> float:
        """The smallest p-value that a test of the question can reach."""
        return smallest_p_value(self.question.criterion, self.n_clusters)

    @property
    def weakness(self) -> str | None:
        """Why no result can support the claim, in a few words; None if one can."""
        criterion, n_tests = self.question.criterion, self.question.n_tests
        if criterion.margin is not None:
            is_small = self.testable_margin is not None and criterion.margin <= self.testable_margin
            return f"can only show {self.amount(self.testable_margin or 0.0)}" if is_small else None
        if n_tests * self.smallest_p >= ALPHA:
            return f"cannot decide, smallest corrected p {min(1.0, n_tests * self.smallest_p):.2g}"
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
        n_tests = self.question.n_tests
        if self.question.criterion.claim == "gain" and n_tests * self.smallest_p >= ALPHA:
            yield (
                f"{counted(n_tests, 'test')} cannot decide: the smallest p-value of one is {self.smallest_p:.2g}, "
                f"after correction {min(1.0, n_tests * self.smallest_p):.2g}"
            )
        yield from self._margin_warnings()
        yield from self._gain_warnings()
        if self.question.n_seeds == 1:
            yield "conditional on one draw of demonstrations: seeds 0 to 4 would show their variation"
        if self.question.n_left_out:
            yield f"{self.question.n_left_out} comparisons are left out, because they lack a language of the group"

    def _margin_warnings(self) -> Iterator[str]:
        margin, testable = self.question.criterion.margin, self.testable_margin
        if margin is None or testable is None or margin > testable:
            return
        if self.is_of_items:
            needed = items_for_margin(margin, alpha=ALPHA / self.question.n_tests)
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
        return f" in a family of {self.question.n_tests} tests" if self.question.n_tests > 1 else ""

    @property
    def _units(self) -> str:
        return f"{self.n_answers}" + (f" in {self.n_clusters} clusters" if self.n_clusters < self.n_answers else "")


def smallest_p_value(criterion: Criterion | None, n_clusters: int) -> float:
    """Return the smallest p-value that a test of a difference can reach; None for one that is a sum over clusters.

    All C clusters change in one direction: 1.5 / 2^C under all sign vectors. Exchanges of other metrics than means draw
    at most 999,900 of them, the test of the worst language 9,999.
    """
    of_clusters = max(1.5 * 2.0 ** -min(n_clusters, 1000), SMALLEST_P_VALUE)
    if criterion is None or criterion.group_kind == "worst":
        return of_clusters if criterion is None else max(2 * of_clusters, 2 / (N_FLIPS + 1)) / (1 - SHARE_OF_EXCLUSION)
    if criterion.metric in (*BINARY, "perplexity"):
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


def power_of(question: PlannedQuestion, store: Store) -> Power:
    """Return what a question can find.

    Differences are those of a test at 5 % divided by the number of tests in the family. Before there are results,
    `CHANGED_SHARE` of the answers is assumed to change, independently in every item, language and comparison; this is
    optimistic, and the answer itself uses clusters. Clusters count as (number of items)^2 / sum of squared sizes.
    """
    evaluations = evaluations_of(question, question.comparisons[0])
    items = [task_data(evaluation.task).items for evaluation in evaluations]
    is_worst, is_mean = question.criterion.group_kind == "worst", question.criterion.over == "mean"
    n_answers = min(map(len, items)) if is_worst else sum(map(len, items))
    clusters = Counter(item.cluster or item.example_id for of_language in items for item in of_language)
    is_binary, n_tests = question.criterion.metric in BINARY, question.n_tests
    errors = _stored_errors(question, store)
    n_observed = n_answers * (len(question.comparisons) if is_mean else 1)
    assumed = math.sqrt(CHANGED_SHARE / n_observed) if is_binary else None
    error = median(errors) if errors else assumed
    detectable = None if error is None else detectable_difference(error, n_tests=n_tests)
    if is_binary and not errors and n_observed <= MOST_EXACT_ITEMS and not is_mean:
        detectable = detectable_difference_of_items(n_answers, CHANGED_SHARE, n_tests=n_tests, test=MID_P)
    smallest = None
    is_independent = len(evaluations) == 1 and len(clusters) == n_answers
    if is_binary and not is_mean:
        fewest = fewest_changed(n_tests=n_tests, test="tango" if is_independent else MID_P)
        smallest = fewest / n_answers if fewest <= len(clusters) else None
        detectable = max(detectable, smallest) if detectable and smallest else detectable
    power = Power(
        question,
        n_languages=len(evaluations),
        n_answers=n_answers,
        n_clusters=len(clusters),
        smallest_significant=smallest,
        detectable=detectable,
        n_stored=len(errors),
        testable_margin=None,
        headroom=_headroom(question, store) if is_binary else None,
    )
    return replace(power, testable_margin=_testable_margin(power, clusters, error))


def _testable_margin(power: Power, clusters: Counter[str], error: float | None) -> float | None:
    alpha = ALPHA / power.question.n_tests
    if power.is_of_items:
        n_effective = clusters.total() ** 2 / sum(size**2 for size in clusters.values())
        return testable_margin(n_effective, alpha=alpha)
    if error is None:
        return None
    is_two_sided = power.question.criterion.claim == "equivalent"
    return testable_margin_of_estimate(error, alpha=alpha, is_two_sided=is_two_sided)


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
    """Return the standard errors of the comparisons of a question that are already in the store.

    Of a mean, those of its answer; the errors of single comparisons would be too large.
    """
    if question.criterion.over == "mean":
        record = store.read_record(*question.identity.key)
        rows = [] if record is None else list(record.rows["answers"])
    else:
        records = (store.read_record(*comparison.identity.key) for comparison in question.comparisons)
        found = (find_row(record, question.criterion) for record in records if record is not None)
        rows = [row for row in found if row is not None]
    return [as_float(row["standard_error"]) for row in rows if row.get("standard_error") is not None]
