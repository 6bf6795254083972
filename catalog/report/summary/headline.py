"""The first section of the report: findings for each task, and the best variant for each language."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from catalog.report.drawing.exhibits import grouped
from catalog.report.filters import Facets
from catalog.report.labels import number, p_value
from catalog.report.query_results import Source, run_report_query
from catalog.report.summary.findings import (
    ALPHA,
    Finding,
    balance_finding,
    best_finding,
    comparison_finding,
    english_finding,
    gap_finding,
    holm_p_values,
    interval,
)
from catalog.results import Row
from catalog.store import Catalog

SCORES = ("wanda", "contrast")
"""Scores whose translation demonstrations are compared with other demonstrations."""


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


@dataclass(frozen=True)
class Headline:
    """Findings and table of one task."""

    title: str
    findings: tuple[Finding, ...]
    table: tuple[TableRow, ...]
    """One row per language with its best variant; the columns are `COLUMNS`."""
    sources: tuple[Source, ...]


def headlines(catalog: Catalog) -> tuple[Headline, ...]:
    """Return a headline for each task that was evaluated by accuracy."""
    models = {row["base_model_id"]: str(row["source"]) for row in run_report_query(catalog, "base_models").rows}
    described, balance = run_report_query(catalog, "outside_english"), run_report_query(catalog, "pareto")
    return tuple(
        _headline(
            catalog,
            str(row["task"]),
            models=models,
            described=[mean for mean in described.rows if mean["task"] == row["task"]],
            balance=[variant for variant in balance.rows if variant["task"] == row["task"]],
        )
        for row in run_report_query(catalog, "tasks").rows
    )


def _headline(
    catalog: Catalog, task: str, *, models: Mapping[str, str], described: Sequence[Row], balance: Sequence[Row]
) -> Headline:
    def run(query: str, **parameters: object) -> Source:
        return run_report_query(catalog, query, folder="queries", parameters={"task": task, **parameters})

    best = run("best_by_language")
    cost = run("english_cost", metric="accuracy")
    compared = [run("demonstrations_compared", score=score, alpha=ALPHA) for score in SCORES]
    usable = [source for source in compared if source.rows] or compared[:1]
    findings = _model_findings(best.rows, cost.rows, balance, models=models)
    for opponent in ("monolingual", "random"):
        findings += [
            comparison_finding(source.rows, opponent, str(source.parameters["score"]), described) for source in usable
        ]
    return Headline(task, tuple(findings), _table(best.rows, models), (best, cost, *usable))


def _model_findings(
    best: Sequence[Row], cost: Sequence[Row], balance: Sequence[Row], *, models: Mapping[str, str]
) -> list[Finding]:
    """Return the findings of each model and scoring rule. If no variant was chosen, the questions have no answers."""
    findings = []
    for (model, _), rows in grouped(best, "base_model_id", "scoring_rule"):
        suffix = f" ({models[model]})" if len(models) > 1 else ""
        model_findings = (
            best_finding(rows, suffix=suffix),
            english_finding(rows, [row for row in cost if row["base_model_id"] == model], suffix=suffix),
            gap_finding(rows, suffix=suffix),
            balance_finding([row for row in balance if row["base_model_id"] == model], suffix=suffix),
        )
        findings += [replace(finding, facets={"model": models[model]}) for finding in model_findings]
    return findings or [best_finding(()), english_finding((), cost)]


def _table(rows: Sequence[Row], models: Mapping[str, str]) -> tuple[TableRow, ...]:
    """Return the best variants as text; p-values are corrected over the languages of a model and scoring rule."""
    lines = []
    for (model, _), members in grouped(rows, "base_model_id", "scoring_rule"):
        lines += [
            TableRow(_cells(row, p_holm), {"model": models[model]})
            for row, p_holm in zip(members, holm_p_values(members), strict=True)
        ]
    return tuple(lines)


def _cells(row: Row, p_holm: float | None) -> tuple[str, ...]:
    return (
        row["language"],
        row["label"],
        f"{row['sparsity']:g}",
        number(row["test_value"]) + interval(row, "test_ci", signed=False),
        number(row["dense_value"]),
        number(row["difference"], signed=True) + interval(row, "difference_ci"),
        p_value(p_holm),
        number(row["english_difference"], signed=True),
    )
