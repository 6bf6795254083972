"""Families of tests and corrected p-values of a filled store, computed from the records in plain Python."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Rows = Mapping[str, Sequence[dict[str, Any]]]
Key = tuple[str, str, str]


@dataclass(frozen=True)
class Corrected:
    """What a test's p-value becomes in its family."""

    n_family: int
    p_corrected: float
    q_bh: float


def corrected(p_values: Sequence[float]) -> list[Corrected]:
    """Correct the p-values of one family, by Holm and by Benjamini and Hochberg."""
    n = len(p_values)
    order = sorted(range(n), key=lambda index: p_values[index])
    holm, step_down = [0.0] * n, 0.0
    for place, index in enumerate(order):
        step_down = max(step_down, (n - place) * p_values[index])
        holm[index] = min(1.0, step_down)
    rates, step_up = [0.0] * n, 1.0
    for place in range(n, 0, -1):
        step_up = min(step_up, p_values[order[place - 1]] / place * n)
        rates[order[place - 1]] = step_up
    return [Corrected(n, p, q) for p, q in zip(holm, rates, strict=True)]


def key_of(row: Mapping[str, Any]) -> Key:
    """The key of a comparison."""
    return row["evaluation_id"], row["baseline_evaluation_id"], row["metric"]


def exploratory(rows: Rows) -> dict[Key, Corrected]:
    """Correct every comparison of the store on test: families are a task, metric and kind of baseline."""
    dense = {row["variant_id"] for row in rows["variants"] if row["sparsity"] == 0}
    families: dict[tuple[Any, ...], list[dict[str, Any]]] = defaultdict(list)
    for row in rows["comparison_results"]:
        if row["split"] == "test":
            families[row["task"], row["metric"], row["baseline_id"] in dense].append(row)
    return {
        key_of(row): values
        for members in families.values()
        for row, values in zip(members, corrected([row["p_value"] for row in members]), strict=True)
    }


def rejected(questions: Sequence[Sequence[float]], alpha: float) -> list[list[bool]]:
    """Reject tests of questions that share a level, step by step.

    Args:
        questions: p-values of the tests of each question, corrected within the question.
    """
    complete: set[int] = set()
    while True:
        level = alpha / max(1, len(questions) - len(complete))
        more = {n for n, p_values in enumerate(questions) if max(p_values) <= level} - complete
        if not more:
            return [[n in complete or p <= level for p in p_values] for n, p_values in enumerate(questions)]
        complete.add(min(more))


def gated(mean: float, languages: Sequence[float]) -> list[float]:
    """Correct the tests of a mean over languages and then of its languages."""
    return [mean, *(max(mean, each.p_corrected) for each in corrected(languages))]
