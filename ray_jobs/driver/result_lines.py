"""Lines at the end of a run about results that differ from what the recipe asks for."""

from collections.abc import Iterator

from mlprune.plan import Plan
from mlprune.steps.prune.result_warnings import variant_warnings
from mlprune.steps.search.batch_result import feasible_winner
from mlprune.store.store import Store

MAX_LINES = 10
"""Warnings about variants that are printed one by one."""


def result_lines(plan: Plan, store: Store) -> list[str]:
    """Return a warning per search without a winner, and for variants that are not as asked for."""
    lines = [f"warning: {line}" for line in _variant_lines(plan, store)]
    if len(lines) > MAX_LINES:
        hidden = f"warning: {len(lines) - MAX_LINES} more variants; mlprune catalog check lists them"
        lines = [*lines[:MAX_LINES], hidden]
    return [*(f"warning: {line}" for line in _search_lines(plan)), *lines]


def _search_lines(plan: Plan) -> Iterator[str]:
    for search in plan.searches:
        if search.is_finished and feasible_winner(search.history) is None:
            constraints = ", ".join(str(one) for one in search.spec.constraints) or "a finite objective"
            yield f"search {search.spec.name} has no winner: none of its best trials meets {constraints}"


def _variant_lines(plan: Plan, store: Store) -> Iterator[str]:
    for variant_id in plan.variants:
        record = store.read_record("variants", variant_id)
        if record is not None:
            yield from variant_warnings(store, record)
