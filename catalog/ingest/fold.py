"""Folding: records and run files that are in the store and not yet in the catalog become rows of it.

Every row comes word for word from `Record.rows`, follows from the record itself, from the texts of its artefact,
from other rows, or from a run file. Where a record has left the store
(quarantine), everything is folded again: rarer than the bookkeeping that a removal row by row would need, and equal to
a rebuilt catalog by construction.

What is to be folded is read and typed before the catalog is opened for writing, some thousands of records at a time, so
that others have to wait only while rows are added.
"""

import gc
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from itertools import islice

from catalog.ingest.demonstration_texts import with_texts
from catalog.ingest.insert_rows import insert_rows
from catalog.ingest.materialized import (
    CHANGE_KEY,
    invalidate_materialized,
    materialized_is_current,
    note,
    noted,
    refresh,
    refresh_all,
)
from catalog.ingest.run_rows import RUN_TABLES, fold_run_rows, not_folded, run_rows
from catalog.ingest.schema import BOOKKEEPING
from catalog.ingest.table_files import declared_tables
from catalog.ingest.transactions import Connection, transaction
from catalog.sql_files import statement
from mlprune.json_values import JsonObject
from mlprune.store.records import Record
from mlprune.store.store import Store

logger = logging.getLogger(__name__)

BATCH_SIZE = 15_000
"""Records, or run files, in one transaction."""

CONDITIONS = ("scoring_rule", "prompt_language", "example_limit", "protocol_id")
"""Columns of an evaluation that its metrics carry too."""

Rows = dict[str, list[JsonObject]]
Writing = Callable[[], AbstractContextManager[Connection]]
"""Opens the catalog for writing, for as long as the context lasts."""


@dataclass(frozen=True)
class FoldResult:
    """What a fold did."""

    n_records: int
    """Records folded now."""
    n_rows: int
    """Rows they contributed."""
    persisted: bool
    """False: the catalog file could not be used, and questions are answered from a copy or from memory."""


@dataclass(frozen=True)
class Pending:
    """The difference between a store and a catalog."""

    records: Mapping[str, frozenset[str]]
    """Kind -> ids of records to be folded."""
    run_files: tuple[str, ...]
    records_left: bool
    """Whether the catalog holds records that are no longer in the store."""
    run_files_left: bool
    materialized_is_current: bool
    """Whether the tables that follow from others are as they should be."""
    listing: str
    """What the listing of records was, to be noted when all are folded."""
    n_in_store: int | None
    """Records in the store; None if none of them had to be looked at."""

    @property
    def n_records(self) -> int:
        """Records to be folded."""
        return sum(len(ids) for ids in self.records.values())

    @property
    def is_empty(self) -> bool:
        """Whether the catalog is up to date."""
        is_known = not (self.records or self.run_files or self.records_left or self.run_files_left)
        return is_known and self.materialized_is_current


def pending(connection: Connection, store: Store) -> Pending:
    """What is to be folded: one listing of records and one of run files, compared with the catalog."""
    listing = store.list_records().sha256
    run_files, run_files_left = not_folded(connection, store)
    ids: dict[str, set[str]] = {}
    known: dict[str, set[str]] = {}
    is_new = noted(connection, "records") != listing
    if is_new:
        ids = store.record_ids()
        found = connection.execute(statement("fold", "folded_ids")).fetchall()
        known = {kind: set(folded) for kind, folded in found}
    records_left = any(folded - ids.get(kind, set()) for kind, folded in known.items())
    missing = ids if records_left else {kind: found - known.get(kind, set()) for kind, found in ids.items()}
    return Pending(
        records={kind: frozenset(found) for kind, found in missing.items() if found},
        run_files=run_files,
        records_left=records_left,
        run_files_left=run_files_left,
        materialized_is_current=materialized_is_current(connection),
        listing=listing,
        n_in_store=sum(map(len, ids.values())) if is_new else None,
    )


def empty(connection: Connection, *, of_records: bool, of_runs: bool) -> None:
    """Remove all rows that came from records, from runs, or from both."""
    with transaction(connection):
        for name in declared_tables():
            if name not in BOOKKEEPING and (of_runs if name in RUN_TABLES else of_records):
                connection.execute(statement("fold", "empty_table", table=name))


def fold_into(writing: Writing, store: Store, todo: Pending, *, errors: type[Exception]) -> tuple[int, int]:
    """Fold what is missing, in short transactions.

    Args:
        writing: opens the catalog, whose schema is current.
        store: the store it is an index of.
        todo: what is missing.
        errors: what the connection raises for rows that do not fit their table.
    Returns: number of records folded, and of the rows they contributed.
    """
    if todo.records_left or todo.run_files_left:
        with writing() as connection:
            empty(connection, of_records=todo.records_left, of_runs=todo.run_files_left)
    n_records = n_rows = 0
    changed: set[str] = set()
    ids: set[str] = set()
    with _uncollected():
        for records in _batches(store, todo.records):
            with writing() as connection:
                folded = _fold_batch(connection, records, errors=errors)
            n_records += len(folded)
            n_rows += sum(len(rows) for record in folded for rows in record.rows.values())
            changed.update(table for record in folded for table in record.rows)
            for table, column in CHANGE_KEY.items():
                ids.update(str(row[column]) for record in folded for row in record.rows.get(table, ()) if column in row)
    for rows in run_rows(store, todo.run_files, at_least=BATCH_SIZE):
        with writing() as connection:
            fold_run_rows(connection, rows, errors=errors)
    with writing() as connection:
        if not todo.materialized_is_current:
            refresh_all(connection)
        elif n_records:
            refresh(connection, changed=changed, ids=ids)
        _note_listing(connection, todo)
    return n_records, n_rows


@contextmanager
def _uncollected() -> Iterator[None]:
    """Let Python not look for unreachable cycles: records have none, and the search takes a sixth of a fold."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _note_listing(connection: Connection, todo: Pending) -> None:
    """If the catalog holds all records of the store, note their listing: the same one has nothing new."""
    if todo.n_in_store is None:
        return
    if connection.execute(statement("fold", "count_records")).fetchall() == [(todo.n_in_store,)]:
        note(connection, "records", todo.listing)


def _batches(store: Store, ids: Mapping[str, frozenset[str]]) -> Iterator[list[Record]]:
    """The records of some names, without those that cannot be read."""
    found = (with_texts(record, store) for record in store.each_record(ids))
    while batch := list(islice(found, BATCH_SIZE)):
        yield batch


def _fold_batch(connection: Connection, records: list[Record], *, errors: type[Exception]) -> list[Record]:
    """Fold records in one transaction; if one of them does not fit, in halves. Returns those that fit."""
    try:
        _insert(connection, records)
    except (errors, ValueError, KeyError, TypeError, AttributeError) as err:
        if len(records) == 1:
            logger.warning("record %s does not fit the catalog and is left out: %s", records[0].path, err)
            return []
        middle = len(records) // 2
        halves = (records[:middle], records[middle:])
        return [fit for half in halves for fit in _fold_batch(connection, half, errors=errors)]
    return records


def _insert(connection: Connection, records: list[Record]) -> None:
    known = declared_tables()
    rows: Rows = {}
    for record in records:
        _collect(record, rows)
    for unknown in sorted(rows.keys() - known.keys()):
        logger.warning("records hold rows of a table this catalog does not have: %s", unknown)
    with transaction(connection):
        invalidate_materialized(connection)
        for name in sorted(rows.keys() & known.keys()):
            if rows[name]:
                insert_rows(connection, known[name], rows[name])


def _collect(record: Record, rows: Rows) -> None:
    """Add a record's rows, and those that follow from the record itself, to the rows of each table."""
    keys = {"kind": record.kind, "id": record.id}
    rows.setdefault("records", []).append(
        {**keys, "step_version": record.step_version, "n_artefacts": len(record.artefacts)}
    )
    rows.setdefault("record_parents", []).extend(
        {**keys, "role": role, "parent_id": parent}
        for role, value in record.parents.items()
        for parent in ([value] if isinstance(value, str) else value)
    )
    rows.setdefault("artefacts", []).extend({**vars(artefact), **keys} for artefact in record.artefacts)
    for table, more in record.rows.items():
        rows.setdefault(table, []).extend(_with_conditions(record) if table == "metrics" else more)


def _with_conditions(record: Record) -> list[JsonObject]:
    """Metrics with what sets their evaluation apart, which stands in a row of the same record."""
    conditions = {
        row["evaluation_id"]: {key: row.get(key) for key in CONDITIONS} for row in record.rows.get("evaluations", ())
    }
    return [{**conditions.get(row["evaluation_id"], {}), **row} for row in record.rows["metrics"]]
