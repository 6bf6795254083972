"""Lines about the declared questions of a recipe: what they can find, and warnings if they cannot be answered."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from mlprune.counted import counted
from mlprune.plan import Plan
from mlprune.steps.questions.declarations import DeclaredAfter
from mlprune.steps.questions.plan import PlannedQuestion
from mlprune.steps.questions.power import CHANGED_SHARE, Power, power_of
from mlprune.store.store import Store


def question_lines(plan: Plan, store: Store, after: Mapping[str, DeclaredAfter]) -> list[str]:
    """Describe each declared question in a line, then warn; nothing for a recipe without declared questions.

    Args:
        after: of `declarations` in the store.
    """
    declared = [question for question in plan.questions if question.config is not None]
    if not declared:
        return []
    powers = [power_of(question, store) for question in declared]
    n_before = {name: sum(numbers.values()) for name, numbers in after.items()}
    return [
        f"questions: {len(declared)} declared, {len(plan.questions) - len(declared)} exploratory by default",
        *(f"  {describe_question(power)}" for power in powers),
        *_warnings(powers, n_before),
    ]


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
    return f"{question.name}: {_claim(power)}; {tests}, {items}; {', '.join(_findings(power))}"


def _mean_of(question: PlannedQuestion) -> str:
    seeds = f" and {counted(question.n_seeds, 'seed')}" if question.n_seeds else ""
    return f"1 test of the mean of {counted(len(question.comparisons), 'comparison')}{seeds}"


def _claim(power: Power) -> str:
    criterion = power.question.criterion
    margin = "" if criterion.margin is None else f" within {power.amount(criterion.margin)}"
    return f"{criterion.claim}{margin} in {criterion.metric}, {criterion.group.text}"


def _findings(power: Power) -> Iterator[str]:
    """Yield the numbers that apply to the question."""
    basis = f"if {100 * CHANGED_SHARE:.0f} % of the answers change" if power.is_binary else "before there are results"
    basis = f"from {counted(power.n_stored, 'stored result')}" if power.n_stored else basis
    if power.question.criterion.margin is None:
        if power.smallest_significant is not None:
            yield f"smallest significant gain {power.amount(power.smallest_significant)}"
        yield _known(power, "gain found with 80 % power", power.detectable, basis)
    else:
        basis = "if no right answer is lost" if power.is_of_items and not power.n_stored else basis
        yield _known(power, "testable margin", power.testable_margin, basis)


def _known(power: Power, what: str, value: float | None, basis: str) -> str:
    return f"{what} {power.amount(value)} ({basis})" if value is not None else f"{what} cannot be said ({basis})"
