"""Table of what is kept and what is retired, one row per ordering, with sizes."""

from collections.abc import Sequence

from catalog.results import QueryResult
from catalog.sql_files import statement
from catalog.store import Catalog
from mlprune.store.retention.rules import DAY_S, Decision

COLUMNS = ("action", "mb", "age_days", "rank", "why", "n_variants", "variant", "ordering_id")
"""`mb`: millions of bytes. `variant`: description of the first variant that reads the files."""


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
