"""Predictions in a finished store, as plain columns and scores."""

from collections import defaultdict
from typing import Any

from tests.tiny_recipes import FinishedRun

Table = dict[str, list[Any]]
"""Columns of a predictions file."""


def read_tables(run: FinishedRun) -> dict[str, Table]:
    """Evaluation id -> its predictions."""
    return {record.id: run.store.read_table(record.artefacts[0]) for record in run.store.records("evaluations")}


def mean_scores(table: Table) -> dict[str, list[float]]:
    """Example id -> scores of its candidates."""
    values: dict[str, list[float]] = defaultdict(list)
    for name, value, n in zip(table["example_id"], table["log_likelihood"], table["n_tokens"], strict=True):
        values[name].append(value / n)
    return values
