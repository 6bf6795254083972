"""Table of the candidates that were chosen on dev, for each language and over languages, with their results on test."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from catalog.report.filters import Facets
from catalog.report.labels import number, p_value
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
        number(row["test_value"]) + _interval(row, "", signed=False),
        number(row["dense_value"]),
        "" if row["is_dense"] else number(row["difference"], signed=True) + _interval(row, "difference_", signed=True),
        "" if row["is_dense"] else p_value(row["p_holm"]),
        "" if row["is_dense"] else number(row["optimism"], signed=True),
        ""
        if row["is_dense"]
        else number(row["english_difference"], signed=True) + _interval(row, "english_", signed=True),
    )


def _chosen(row: Row) -> str:
    """Return the chosen candidate, and how many are as good on dev."""
    name = "dense: no pruned variant is better" if row["is_dense"] else str(row["label"])
    return f"{name} ({row['n_tied']} tied)" if row["n_tied"] > 1 else name


def _interval(row: Row, prefix: str, *, signed: bool) -> str:
    """Return ` (low to high)` from the columns `<prefix>ci_low` and `<prefix>ci_high`; empty without an interval."""
    low, high = row[f"{prefix}ci_low"], row[f"{prefix}ci_high"]
    if low is None or high is None:
        return ""
    return f" ({number(low, signed=signed)} to {number(high, signed=signed)})"
