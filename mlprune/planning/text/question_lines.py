"""What a plan says about its questions: what each can find, and what weakens its answer."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from mlprune.counted import counted
from mlprune.planning.plan import Plan
from mlprune.steps.compare.differences import CompareJob
from mlprune.steps.questions.asked import PlannedQuestion
from mlprune.steps.questions.declarations import DeclaredAfter, dropped_questions
from mlprune.steps.questions.margins import dense_evaluations, is_large, room_of
from mlprune.steps.questions.power import (
    CHANGED_SHARE,
    SEEDS_SHARE,
    Power,
    exploratory_families,
    power_of,
    smallest_p_value,
)
from mlprune.store.store import Store
from mlprune.vocabulary import CLAIMS

MAX_QUESTION_CELLS = 100
"""Longest line about a question, without details."""


def question_lines(
    plan: Plan, store: Store, after: Mapping[str, DeclaredAfter], *, is_detailed: bool = False
) -> list[str]:
    """Describe each declared question in a line or two; nothing for a recipe without declared questions.

    The last line of the questions says which earlier declarations of the recipe still count.

    Args:
        after: of `declarations` in the store.
        is_detailed: longer lines, with all warnings and the sizes of the exploratory families.
    """
    declared = [question for question in plan.questions if question.config is not None]
    if not declared:
        return []
    n_before = {name: found.n for name, found in after.items()}
    head = f"questions: {len(declared)} declared, {len(plan.questions) - len(declared)} exploratory by default"
    primary = [each for each in declared if each.config and each.config.primary and not n_before[each.id]]
    of_reports = [each for report in plan.reports for each in report.questions if each.config]
    dropped = dropped_questions(plan.recipe.name, [*primary, *of_reports], store)
    n_questions = len(primary) + sum(bool(each.config and each.config.primary) for each in of_reports) + len(dropped)
    sharing = {each.id: n_questions for each in primary}
    powers = [power_of(each, store, n_questions=sharing.get(each.id, 1)) for each in declared]
    if not is_detailed:
        lines = (line for power in powers for line in _short_lines(power, is_late=n_before[power.question.id] > 0))
        weak = (line for line in _family_lines(plan) if line.startswith("warning"))
        large = _margin_lines(plan, store)
        return [f"{head}; mlprune plan --power has details", *lines, *large, *_dropped_lines(plan, dropped), *weak]
    described = (f"  {describe_question(power)}" for power in powers)
    last = (*_dropped_lines(plan, dropped), *_family_lines(plan))
    return [head, *described, *_warnings(powers, n_before), *_margin_lines(plan, store), *last]


def _margin_lines(plan: Plan, store: Store) -> Iterator[str]:
    """Yield a warning for each margin that is above half of the distance between dense and chance."""
    comparisons = [job for job in plan.jobs if isinstance(job, CompareJob)]
    dense = dense_evaluations(comparisons, (each.id for each in plan.variants.values() if each.is_dense))
    for question in plan.questions:
        margin = question.criterion.margin
        room = None if margin is None else room_of(question, store, dense)
        if margin is not None and room is not None and is_large(margin, room):
            yield (
                f"warning: question {question.name}: a margin of {100 * margin:.1f} points is above half of what dense "
                f"has above chance ({100 * room:.1f} points): it can hold for a model that lost most of its ability"
            )


def _dropped_lines(plan: Plan, dropped: Sequence[str]) -> Iterator[str]:
    """Yield a warning if primary questions that the recipe declared before are not among those that it asks now."""
    if dropped:
        yield (
            f"warning: recipe {plan.recipe.name} declared other variants, languages or claims before "
            f"({', '.join(dropped)}), and they still share its 5 %: if nothing of them was evaluated, rename the "
            "recipe or use another store"
        )


def _short_lines(power: Power, *, is_late: bool) -> list[str]:
    """Say what a question can find: in one line with its name, or below its title or a long name."""
    question, criterion = power.question, power.question.criterion
    n_tests = question.n_tests if criterion.over == "each" else 1
    text = f"{counted(n_tests, 'test')}: {_short_power(power)}"
    if is_late:
        text += "; exploratory: results existed"
    title = question.config.title if question.config else None
    line = f"  {question.name}: {text}"
    return (
        [line] if title is None and len(line) <= MAX_QUESTION_CELLS else [f"  {title or question.name}", f"    {text}"]
    )


def _short_power(power: Power) -> str:
    """Say what a question can find, or why it cannot decide."""
    criterion = power.question.criterion
    of_more_seeds = f"; {power.seeds_text}" if power.seeds_text else ""
    if power.weakness is not None:
        return power.weakness + of_more_seeds
    if power.found is None:
        return f"power unknown ({power.unknown_reason}){of_more_seeds}"
    margin = "" if criterion.margin is None else power.amount(criterion.margin)
    return CLAIMS[criterion.claim].power.format(amount=power.amount(power.found), margin=margin) + of_more_seeds


def _family_lines(plan: Plan) -> Iterator[str]:
    """Yield a line for each exploratory family of single languages, and a warning if it cannot decide."""
    comparisons = [job for job in plan.jobs if isinstance(job, CompareJob)]
    dense = {planned.id for planned in plan.variants.values() if planned.is_dense}
    for family in exploratory_families(comparisons, dense=dense):
        against = "dense" if family.is_against_dense else "others"
        floor = smallest_p_value(None, family.n_clusters)
        name = f"exploratory family {family.task} against {against}"
        yield f"{name}: up to {counted(family.n_tests, 'test')} of a metric, smallest p {floor:.2g}"
        if not family.can_decide:
            yield f"warning: {name}: {counted(family.n_clusters, 'cluster')} cannot decide a family of this size"


def _warnings(powers: Sequence[Power], n_before: Mapping[str, int]) -> Iterator[str]:
    """Yield a line for each warning, with the names of all questions to which it applies."""
    names: dict[str, list[str]] = defaultdict(list)
    for power in powers:
        if n := n_before[power.question.id]:
            text = f"{counted(n, 'result')} existed before the declaration, so the answer is exploratory"
            names[text].append(power.question.name)
        for text in power.warnings():
            names[text].append(power.question.name)
    for text, questions in names.items():
        yield f"warning: {'question' if len(questions) == 1 else 'questions'} {', '.join(questions)}: {text}"


def describe_question(power: Power) -> str:
    """Describe a question and what it can find on one line."""
    question = power.question
    tests = counted(question.n_tests, "test") if question.criterion.over == "each" else _mean_of(question)
    languages = counted(power.n_languages, "language")
    items = f"{counted(power.n_answers, 'item')} in {languages} ({counted(power.n_clusters, 'cluster')})"
    found = ", ".join([f"smallest p {power.smallest_p:.2g}", *_findings(power)])
    return f"{question.name}: {_claim(power)}; {tests}, {items}; {found}"


def _mean_of(question: PlannedQuestion) -> str:
    seeds = f" and {counted(question.n_seeds, 'seed')}" if question.n_seeds else ""
    return f"1 test of the mean of {counted(len(question.comparisons), 'comparison')}{seeds}"


def _claim(power: Power) -> str:
    criterion = power.question.criterion
    margin = "" if criterion.margin is None else f" within {power.amount(criterion.margin)}"
    return f"{criterion.claim}{margin} in {criterion.metric}, {criterion.group.text}"


def _findings(power: Power) -> Iterator[str]:
    """Yield the numbers that apply to the question."""
    basis = _basis(power)
    if power.question.criterion.margin is None:
        if power.smallest_significant is not None:
            yield f"smallest significant gain {power.amount(power.smallest_significant)}"
        yield _known(power, "gain found with 80 % power", power.detectable, basis)
    else:
        basis = "if no right answer is lost" if power.is_of_items and not power.n_stored else basis
        yield _known(power, "testable margin", power.testable_margin, basis)


def _basis(power: Power) -> str:
    """Say on which assumption the power depends."""
    if power.n_stored:
        return f"if the error is as in {counted(power.n_stored, 'stored result')}"
    if not power.is_binary:
        return "before there are results"
    of_seeds = f" and {100 * SEEDS_SHARE:.0f} % of the squared error is from seeds" if power.ratio_of_five_seeds else ""
    return f"if {100 * CHANGED_SHARE:.0f} % of the answers change{of_seeds}"


def _known(power: Power, what: str, value: float | None, basis: str) -> str:
    return f"{what} unknown ({power.unknown_reason})" if value is None else f"{what} {power.amount(value)} ({basis})"
