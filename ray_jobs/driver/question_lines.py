"""Lines about the declared questions of a recipe: what they can find, and warnings if they cannot be answered."""

from collections.abc import Iterator

from mlprune.counted import counted
from mlprune.plan import Plan
from mlprune.steps.questions.declarations import declarations
from mlprune.steps.questions.plan import PlannedQuestion
from mlprune.steps.questions.power import CHANGED_SHARE, Power, power_of
from mlprune.store.store import Store


def question_lines(plan: Plan, store: Store) -> list[str]:
    """Describe each declared question in a line, then warn; nothing for a recipe without declared questions."""
    declared = [question for question in plan.questions if question.config is not None]
    if not declared:
        return []
    powers = [power_of(question, store) for question in declared]
    n_before = {name: sum(numbers.values()) for name, numbers in declarations(declared, store).items()}
    return [
        f"questions: {len(declared)} declared, {len(plan.questions) - len(declared)} exploratory by default",
        *(f"  {describe_question(power)}" for power in powers),
        *(line for power in powers for line in _warnings(power, n_before[power.question.id])),
    ]


def _warnings(power: Power, n_before: int) -> Iterator[str]:
    name = power.question.name
    if n_before:
        results = counted(n_before, "result")
        yield f"warning: question {name} is declared after {results} of it existed: its answer is exploratory"
    yield from (f"warning: question {name}: {text}" for text in power.warnings())


def describe_question(power: Power) -> str:
    """Describe a question and what it can find on one line."""
    question = power.question
    tests = counted(question.n_tests, "test") if question.criterion.over == "each" else _mean_of(question)
    languages = counted(power.n_languages, "language")
    items = f"{counted(power.n_answers, 'item')} in {languages} ({counted(power.n_clusters, 'cluster')})"
    return f"{question.name}: {_claim(question)}; {tests}, {items}; {', '.join(_findings(power))}"


def _mean_of(question: PlannedQuestion) -> str:
    seeds = f" and {counted(question.n_seeds, 'seed')}" if question.n_seeds else ""
    return f"1 test of the mean of {counted(len(question.comparisons), 'comparison')}{seeds}"


def _claim(question: PlannedQuestion) -> str:
    criterion = question.criterion
    margin = "" if criterion.margin is None else f" within {_points(criterion.margin)}"
    return f"{criterion.claim}{margin} in {criterion.metric}, {criterion.group.text}"


def _findings(power: Power) -> Iterator[str]:
    """Yield the numbers that apply to the question."""
    if power.smallest_significant is not None and power.question.criterion.claim == "gain":
        yield f"smallest significant gain {_points(power.smallest_significant)}"
    if power.testable_margin is not None and power.question.criterion.margin is not None:
        yield f"testable margin {_points(power.testable_margin)} if nothing is lost"
    if power.detectable is None:
        yield "power unknown before there are results"
    elif power.n_stored:
        yield f"80 % power at {_points(power.detectable)} (from {counted(power.n_stored, 'stored comparison')})"
    else:
        yield f"80 % power at {_points(power.detectable)} (if {100 * CHANGED_SHARE:.0f} % of the answers change)"


def _points(value: float) -> str:
    return f"{100 * value:.1f} points"
