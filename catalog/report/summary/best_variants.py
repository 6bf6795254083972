"""Table of the candidates that were chosen on dev, for each language and over languages, with their results on test."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from catalog.report.filters import Facets
from catalog.report.labels import number, p_value, with_interval
from catalog.results import Row

COLUMNS: tuple[str, ...] = (
    "chosen for",
    "chosen on dev",
    "wins in resamples of dev",
    "test (95% interval)",
    "dense",
    "difference (95% interval)",
    "p, Holm",
    "optimism of dev",
    "change in English (95% interval)",
)
"""Headings of the table of best variants."""

CRITERIA: Mapping[str, str] = {"outside_english": "mean outside English", "worst": "worst language"}
"""Criterion of several languages -> label."""


@dataclass(frozen=True)
class TableRow:
    """A row of a table as text, and its filter values."""

    cells: tuple[str, ...]
    facets: Facets


def best_variants_table(rows: Sequence[Row], models: Mapping[str, str]) -> tuple[TableRow, ...]:
    """Return the chosen candidates as text.

    Args:
        rows: result of `chosen_on_dev.sql`.
        models: base model id -> name.
    """
    return tuple(TableRow(_cells(row), {"model": models[row["base_model_id"]]}) for row in rows)


def _cells(row: Row) -> tuple[str, ...]:
    return (
        CRITERIA.get(row["criterion"], row["criterion"]),
        _chosen(row),
        f"{row['win_share']:.0%} of {row['n_candidates']} candidates",
        with_interval(row["test_value"], row["ci_low"], row["ci_high"]),
        number(row["dense_value"]),
        "" if row["is_dense"] else _change(row, "difference", ends="difference"),
        "" if row["is_dense"] else p_value(row["p_holm"]),
        "" if row["is_dense"] else number(row["optimism"], signed=True),
        "" if row["is_dense"] else _change(row, "english_difference", ends="english"),
    )


def _chosen(row: Row) -> str:
    """Return the chosen candidate, and how many are as good on dev."""
    name = "dense: no pruned variant is better" if row["is_dense"] else str(row["label"])
    return f"{name} ({row['n_tied']} tied)" if row["n_tied"] > 1 else name


def _change(row: Row, column: str, *, ends: str) -> str:
    """Return a change with its interval, of the columns `<ends>_ci_low` and `<ends>_ci_high`."""
    return with_interval(row[column], row[f"{ends}_ci_low"], row[f"{ends}_ci_high"], signed=True)
