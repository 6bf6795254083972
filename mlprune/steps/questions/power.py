"""What a question can find with the items that it has, before its run: from the task files and from stored results."""

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import fmean, median

from mlprune.json_values import as_float
from mlprune.numeric.statistics.power import (
    detectable_difference,
    detectable_difference_of_items,
    items_for_margin,
    smallest_significant_difference,
    testable_margin,
)
from mlprune.steps.evaluate.task_items import task_data
from mlprune.steps.questions.answers import ALPHA, BINARY, MID_P
from mlprune.steps.questions.evidence import find_row
from mlprune.steps.questions.plan import PlannedQuestion, evaluations_of
from mlprune.store.store import Store

CHANGED_SHARE = 0.2
"""Share of the answers that is assumed to change, in either direction, before there are results."""
LARGE_GAIN = 0.05
"""Smallest significant gain from which on a question is called too weak."""


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
    """True difference that is found with a power of 80 %; None if there are no results to estimate it from."""
    n_stored: int
    """Number of stored comparisons from which `detectable` is estimated; 0 if `CHANGED_SHARE` is assumed."""
    testable_margin: float | None
    """Smallest margin that can be shown if no right answer is lost: as of one item per cluster."""
    headroom: float | None
    """Largest possible gain of a binary metric over the first baseline; None before the baseline was evaluated."""

    def warnings(self) -> Iterator[str]:
        """Yield what the question cannot answer, one line each."""
        question, points = self.question, _points
        margin, group = question.criterion.margin, question.criterion.group.text
        family = f" in a family of {question.n_tests}" if question.n_tests > 1 else ""
        if margin is not None and self.testable_margin is not None and margin <= self.testable_margin:
            needed = items_for_margin(margin, alpha=ALPHA / question.n_tests)
            yield (
                f"a margin of {points(margin)} needs about {needed} clusters of items{family}, {group} has "
                f"{self.n_clusters}: the smallest testable margin is {points(self.testable_margin)}"
            )
        smallest = self.smallest_significant
        if question.criterion.claim == "gain" and smallest is not None:
            if smallest > LARGE_GAIN:
                yield f"no gain below {points(smallest)} can be significant{family}: {group} has {self.n_answers} items"
            if self.headroom is not None and self.headroom < smallest:
                yield f"the baseline is {points(self.headroom)} below the best value: no gain can be significant"
        if question.n_seeds == 1:
            yield "its answer is conditional on one draw of demonstrations: seeds 0 to 4 would show their variation"
        if question.n_left_out:
            yield f"{question.n_left_out} comparisons are left out, because they lack a language of the group"


def power_of(question: PlannedQuestion, store: Store) -> Power:
    """Return what a question can find.

    Differences are those of a test at 5 % divided by the number of tests in the family. Answers to one item in several
    languages count as independent, which is optimistic; the answer itself uses clusters.
    """
    evaluations = evaluations_of(question, question.comparisons[0])
    items = [task_data(evaluation.task).items for evaluation in evaluations]
    sizes = [len(of_language) for of_language in items]
    is_worst = question.criterion.group_kind == "worst"
    n_answers = min(sizes) if is_worst else sum(sizes)
    clusters = {item.cluster or item.example_id for of_language in items for item in of_language}
    is_binary = question.criterion.metric in BINARY
    errors, n_tests = _stored_errors(question, store), question.n_tests
    detectable = None
    if errors:
        detectable = detectable_difference(median(errors), n_tests=n_tests)
    elif is_binary:
        detectable = detectable_difference_of_items(n_answers, CHANGED_SHARE, n_tests=n_tests, test=MID_P)
    return Power(
        question,
        n_languages=len(evaluations),
        n_answers=n_answers,
        n_clusters=len(clusters),
        smallest_significant=smallest_significant_difference(n_answers, n_tests=n_tests, test=MID_P)
        if is_binary
        else None,
        detectable=detectable,
        n_stored=len(errors),
        testable_margin=testable_margin(len(clusters), alpha=ALPHA / n_tests) if is_binary else None,
        headroom=_headroom(question, store) if is_binary else None,
    )


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
    rows = (find_row(record, question.criterion) for record in records if record is not None)
    return [as_float(row["standard_error"]) for row in rows if row and row.get("standard_error") is not None]


def _points(value: float) -> str:
    return f"{100 * value:.1f} points"
