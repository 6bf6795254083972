"""The rows that a record adds to the catalog, and a check that its kind and id allow them."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping

from catalog.ingest.table_files import declared_tables
from mlprune.json_values import JsonObject
from mlprune.store.record_kinds import RECORD_KINDS, is_shown, table_of
from mlprune.store.records import Record
from mlprune.vocabulary import is_higher_better

CONDITIONS = ("scoring_rule", "prompt_language", "example_limit", "protocol_id", "profile")
"""Columns of evaluations that are repeated in metrics."""
WITH_PROFILE = (
    "evaluations",
    "metrics",
    "comparison_results",
    "aggregate_results",
    "rank_consistency",
    "seed_components",
    "sensitivity",
    "sensitivity_agreement",
    "feature_overlaps",
    "lrp2_trials",
)
"""Tables whose rows have the profile `corrected` unless their record names another one."""

Rows = dict[str, list[JsonObject]]
"""Table -> rows."""


def row_problems(record: Record) -> Iterator[str]:
    """Yield what is wrong with the rows of a record, one line each: foreign tables or ids, duplicates.

    Whether the values fit their columns is found when the record is folded.
    """
    kind = RECORD_KINDS.get(record.kind)
    if kind is None:
        yield f"the kind {record.kind} is unknown"
        return
    for stored_name, rows in record.rows.items():
        name = table_of(stored_name)
        if name not in kind.tables:
            yield f"its kind has no rows in the table {name}"
            continue
        table = declared_tables()[name]
        own = kind.tables[name]
        if own is not None and any(row.get(own) != record.id for row in rows):
            yield f"a row of {name} belongs to another record"
        keys = Counter(tuple(str(row.get(column)) for column in table.primary_key) for row in rows)
        if duplicates := [key for key, n in keys.items() if n > 1]:
            yield f"the table {name} has several rows for {', '.join(duplicates[0])}"


def add_rows(record: Record, rows: Rows) -> None:
    """Add the rows of a record, and the rows about the record itself, to the rows of each table.

    Of a record of an earlier version, whose statistics are not comparable with today's, only the latter are added.
    """
    keys = {"kind": record.kind, "id": record.id}
    about = {"step_version": record.step_version, "n_artefacts": len(record.artefacts)}
    ordering_id = record.parameters.get("ordering") if record.kind == "mask_blocks" else None
    rows.setdefault("records", []).append({**keys, **about, "ordering_id": ordering_id})
    rows.setdefault("record_parents", []).extend(
        {**keys, "role": role, "parent_id": parent}
        for role, value in record.parents.items()
        for parent in ([value] if isinstance(value, str) else value)
    )
    rows.setdefault("artefacts", []).extend({**vars(artefact), **keys} for artefact in record.artefacts)
    if not is_shown(record.kind, record.step_version):
        return
    for name, record_rows in record.rows.items():
        table = table_of(name)
        added = _COMPLETED[table](record) if table in _COMPLETED else record_rows
        rows.setdefault(table, []).extend(_with_profile(added) if table in WITH_PROFILE else added)


def _with_conditions(record: Record) -> list[JsonObject]:
    """Return the rows of metrics with the conditions of their evaluations, whose rows are in the same record.

    Records of older versions do not store whether a higher value is better.
    """
    conditions = {
        row["evaluation_id"]: {key: row.get(key) for key in CONDITIONS} for row in record.rows.get("evaluations", ())
    }
    return [
        {
            "higher_is_better": is_higher_better(str(row.get("metric"))),
            **conditions.get(row["evaluation_id"], {}),
            **row,
        }
        for row in record.rows["metrics"]
    ]


def _with_roles(record: Record) -> list[JsonObject]:
    """Return the links of a variant to its sets, with the roles as the catalog names them."""
    links = record.rows["variant_demonstrations"]
    return [{**row, "role": "calibration"} if row.get("role") == "demonstrations" else row for row in links]


def _with_profile(rows: Iterable[JsonObject]) -> list[JsonObject]:
    """Return rows with the profile that is not stored because it is the default."""
    return [row if row.get("profile") else {**row, "profile": "corrected"} for row in rows]


_COMPLETED: Mapping[str, Callable[[Record], list[JsonObject]]] = {
    "metrics": _with_conditions,
    "variant_demonstrations": _with_roles,
}
"""Table -> function that returns the rows of a record for it, if they are not the stored ones."""
