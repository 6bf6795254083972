"""Retention in the catalog: ranks of variants on dev, and the table of what is kept and retired."""

from collections.abc import Sequence
from dataclasses import dataclass

from catalog.results import QueryResult
from catalog.sql_files import sql_files, statement
from catalog.store import Catalog
from mlprune.errors import BadInputError, unknown
from mlprune.store.retention import DAY_S, Decision, Ranking

COLUMNS = ("action", "mb", "age_days", "rank", "why", "n_variants", "variant", "ordering_id")
"""`mb`: millions of bytes. `variant`: description of the first variant that reads the files."""


@dataclass(frozen=True)
class RankingRequest:
    """By what variants are ranked."""

    metrics: Sequence[str] = ()
    """Metrics on dev; a variant among the best by one of them is kept."""
    keep_best: int | None = None
    """Number of variants kept per metric, base model, task and way of evaluation."""
    tasks: Sequence[str] = ()
    """Only these tasks, each ranked by itself; all tasks if empty."""
    language: str | None = None
    """Only this language; otherwise the mean over languages."""


def rank_variants(catalog: Catalog, request: RankingRequest) -> Ranking:
    """Rank the variants of a store.

    Raises:
        BadInputError: the store has no value on dev of a metric, the task or the language.
    """
    _require_values(catalog, request)
    kept = statement("retention", "kept", reasons="\nUNION ALL\n".join(file.statement for file in sql_files("kept")))
    reasons = {str(row["variant_id"]): str(row["reason"]) for row in catalog.query(kept)}
    ranks: dict[str, int] = {}
    for metric in request.metrics:
        values = {"metric": metric, "tasks": list(request.tasks), "language": request.language}
        for row in catalog.query(statement("retention", "ranks"), values):
            variant_id, rank = str(row["variant_id"]), int(row["position"])
            ranks[variant_id] = min(rank, ranks.get(variant_id, rank))
            if request.keep_best is not None and rank <= request.keep_best and variant_id not in reasons:
                reasons[variant_id] = f"rank {rank} of {row['n_variants']} by {metric} on dev: {row['task']}"
    return Ranking(reasons, ranks)


def _require_values(catalog: Catalog, request: RankingRequest) -> None:
    """Check that there is something to rank by.

    Raises:
        BadInputError: there is not.
    """
    rows = catalog.query(statement("retention", "metrics_on_dev")) if request.metrics else []
    for option, wanted in (("metric", request.metrics), ("task", request.tasks), ("language", [request.language])):
        known = sorted({str(row[option]) for row in rows})
        for name in wanted if request.metrics else ():
            if name is not None and name not in known:
                raise unknown(f"{option} of values on dev", name, known, error=BadInputError, store=catalog.store.uri)


def decision_table(catalog: Catalog, decisions: Sequence[Decision]) -> QueryResult:
    """Describe decisions, in their order: what is retired first comes first."""
    labels = {row["variant_id"]: row["label"] for row in catalog.query(statement("retention", "labels"))}
    rows = [
        (
            "retire" if decision.is_retired else "keep",
            round(decision.masks.n_bytes / 1e6, 1),
            round(decision.masks.age_s / DAY_S, 1),
            decision.rank,
            decision.reason,
            len(decision.masks.variant_ids),
            labels.get(decision.masks.variant_ids[0]) if decision.masks.variant_ids else None,
            decision.masks.ordering_id,
        )
        for decision in decisions
    ]
    return QueryResult(COLUMNS, tuple(rows))
