"""Rows of a figure by model and task, each with its heading."""

from collections.abc import Sequence

from catalog.report.drawing.exhibits import grouped, has_several_rules
from catalog.report.labels import task_label
from catalog.results import Row

TASK = ("base_model", "base_model_id", "task", "split", "scoring_rule", "example_limit")
"""Columns whose values are a model, a task and a way of evaluating it."""


def by_task(rows: Sequence[Row], *more: str) -> list[tuple[str, list[Row]]]:
    """Group rows by model, task and way of evaluating; return the heading and the rows of each group.

    Args:
        more: columns by which rows are grouped in addition.
    """
    return [
        (task_label(members[0], with_rule=has_several_rules(rows, members[0])), members)
        for _, members in grouped(rows, *TASK, *more)
    ]
