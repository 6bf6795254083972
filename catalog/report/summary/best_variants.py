"""Table of the variants that were chosen on dev for each language, with their results on test."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from catalog.report.drawing.exhibits import grouped
from catalog.report.filters import Facets
from catalog.report.labels import number, p_value
from catalog.results import Row
from mlprune.numeric.statistics.multiplicity import holm

COLUMNS: tuple[str, ...] = (
    "language",
    "chosen on dev",
    "sparsity",
    "test (95% interval)",
    "dense",
    "difference (95% interval)",
    "p, Holm",
    "change in English",
)
"""Headings of the table of best variants."""


@dataclass(frozen=True)
class TableRow:
    """A row of a table as text, and its filter values."""

    cells: tuple[str, ...]
    facets: Facets


def best_variants_table(rows: Sequence[Row], models: Mapping[str, str]) -> tuple[TableRow, ...]:
    """Return the best variants as text; p-values are corrected over the languages of a model and scoring rule.

    Args:
        rows: result of `best_by_language.sql`.
        models: base model id -> name.
    """
    lines = []
    for (model, _), members in grouped(rows, "base_model_id", "scoring_rule"):
        lines += [
            TableRow(_cells(row, p_holm), {"model": models[model]})
            for row, p_holm in zip(members, holm_p_values(members), strict=True)
        ]
    return tuple(lines)


def holm_p_values(rows: Sequence[Row]) -> list[float | None]:
    """Return the p-value of each row after Holm's correction over these rows, None for rows without one."""
    p_values = [row["p_value"] for row in rows if row["p_value"] is not None]
    corrected = iter(holm(p_values) if p_values else [])
    return [None if row["p_value"] is None else next(corrected) for row in rows]


def _cells(row: Row, p_holm: float | None) -> tuple[str, ...]:
    return (
        row["language"],
        row["label"],
        f"{row['sparsity']:g}",
        number(row["test_value"]) + _interval(row, "test_ci", signed=False),
        number(row["dense_value"]),
        number(row["difference"], signed=True) + _interval(row, "difference_ci", signed=True),
        p_value(p_holm),
        number(row["english_difference"], signed=True),
    )


def _interval(row: Row, columns: str, *, signed: bool) -> str:
    """Return ` (low to high)` from the columns `<columns>_low` and `<columns>_high`; empty without an interval."""
    low, high = row[f"{columns}_low"], row[f"{columns}_high"]
    if low is None or high is None:
        return ""
    return f" ({number(low, signed=signed)} to {number(high, signed=signed)})"
