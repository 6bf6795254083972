"""Fold records and run files into the catalog: insert the rows of those that it lacks.

Most rows are stored in a record. Others are derived from the record itself, from the texts of its artefact, from other
rows, or from a run file. If a record has disappeared from the store (for example into the quarantine), everything is
folded again, so that the result always equals a rebuilt catalog. This is rare.

Records are read and converted before the catalog is opened for writing, some thousands at a time, so that other
processes wait only while rows are inserted.
"""

import gc
import json
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Final

from catalog.ingest.demonstration_texts import with_texts, without_texts
from catalog.ingest.insert_rows import insert_rows
from catalog.ingest.materialized import (
    CHANGE_KEY,
    invalidate_materialized,
    materialized_is_current,
    read_state,
    refresh,
    refresh_all,
    write_state,
)
from catalog.ingest.record_rows import Rows, add_rows, row_problems
from catalog.ingest.run_rows import RUN_TABLES, fold_run_rows, run_rows, unfolded_run_files
from catalog.ingest.schema import BOOKKEEPING
from catalog.ingest.table_files import declared_tables
from catalog.ingest.transactions import Connection, transaction
from catalog.sql_files import statement
from mlprune.store.record_kinds import is_shown, table_of
from mlprune.store.records import Record
from mlprune.store.store import Store

logger = logging.getLogger(__name__)

BATCH_SIZE = 15_000
"""Number of records, or run files, in one transaction."""

WRONG_ROWS: Final = "wrong rows"
"""Name of the state of the catalog of folded records with doubled or foreign rows, as a JSON list."""

OpenForWriting = Callable[[], AbstractContextManager[Connection]]
"""Opens the catalog for writing; it is closed at the end of the context."""


@dataclass(frozen=True)
class FoldResult:
    """Summary of a fold."""

    n_records: int
    """Number of records that were folded."""
    n_rows: int
    """Number of their rows."""
    persisted: bool
    """Whether the catalog file is up to date. If not, queries read a copy of it or a catalog in memory."""


@dataclass(frozen=True)
class Pending:
    """The difference between a store and a catalog."""

    records: Mapping[str, frozenset[str]]
    """Kind -> ids of records to fold."""
    run_files: tuple[str, ...]
    """Paths of run files to fold."""
    has_removed_records: bool
    """Whether the catalog has records that are no longer in the store."""
    has_removed_run_files: bool
    materialized_is_current: bool
    """Whether the materialized tables are up to date."""
    listing: str
    """Hash of the list of records; stored in the catalog once all of them are folded."""
    n_in_store: int | None
    """Number of records in the store; None if the list has not changed since the last fold."""

    @property
    def n_records(self) -> int:
        """Number of records to fold."""
        return sum(len(ids) for ids in self.records.values())

    @property
    def is_empty(self) -> bool:
        """Whether the catalog is up to date."""
        has_changes = bool(self.records or self.run_files or self.has_removed_records or self.has_removed_run_files)
        return not has_changes and self.materialized_is_current


def pending(connection: Connection, store: Store) -> Pending:
    """List the records and run files of a store, and find those that the catalog lacks."""
    listing = store.list_records().sha256
    run_files, has_removed_run_files = unfolded_run_files(connection, store)
    stored: dict[str, set[str]] = {}
    folded: dict[str, set[str]] = {}
    has_changed = read_state(connection, "records") != listing
    if has_changed:
        stored = store.record_ids()
        folded = {kind: set(ids) for kind, ids in connection.execute(statement("fold", "folded_ids")).fetchall()}
    has_removed_records = any(ids - stored.get(kind, set()) for kind, ids in folded.items())
    missing = stored if has_removed_records else {kind: ids - folded.get(kind, set()) for kind, ids in stored.items()}
    return Pending(
        records={kind: frozenset(ids) for kind, ids in missing.items() if ids},
        run_files=run_files,
        has_removed_records=has_removed_records,
        has_removed_run_files=has_removed_run_files,
        materialized_is_current=materialized_is_current(connection),
        listing=listing,
        n_in_store=sum(map(len, stored.values())) if has_changed else None,
    )


def remove_rows(connection: Connection, *, of_records: bool, of_runs: bool) -> None:
    """Remove all rows of records, of run files, or of both."""
    with transaction(connection):
        for name in declared_tables():
            if name not in BOOKKEEPING and (of_runs if name in RUN_TABLES else of_records):
                connection.execute(statement("fold", "empty_table", table=name))
        if of_records:
            connection.execute(statement("fold", "forget_state"), {"name": WRONG_ROWS})


def fold_into(
    open_for_writing: OpenForWriting, store: Store, todo: Pending, *, errors: type[Exception]
) -> tuple[int, int]:
    """Fold pending records and run files, in short transactions.

    Args:
        open_for_writing: opens the catalog, whose schema is current.
        store: the store of the catalog.
        todo: the records and run files to fold.
        errors: exception that the connection raises for rows that do not fit their table.
    Returns: number of folded records, and number of their rows.
    """
    if todo.has_removed_records or todo.has_removed_run_files:
        with open_for_writing() as connection:
            remove_rows(connection, of_records=todo.has_removed_records, of_runs=todo.has_removed_run_files)
    n_records = n_rows = 0
    changed_tables: set[str] = set()
    new_ids: set[str] = set()
    shown, hidden = Counter[str](), Counter[str]()
    with _without_garbage_collection():
        for records in _batches(store, todo.records):
            with open_for_writing() as connection:
                folded = _fold_batch(connection, records, errors=errors)
            n_records += len(folded)
            n_rows += sum(len(rows) for record in folded for rows in record.rows.values())
            for record in folded:
                (shown if is_shown(record.kind, record.step_version) else hidden)[record.kind] += 1
                tables = {table_of(name): rows for name, rows in record.rows.items()}
                changed_tables.update(tables)
                for table, column in CHANGE_KEY.items():
                    new_ids.update(str(row[column]) for row in tables.get(table, ()) if column in row)
    for kind in sorted(hidden.keys() - shown.keys()):
        logger.warning(
            "the %d records of kind %s are of an earlier version and not shown, because their statistics are not "
            "comparable with today's; run their recipe again to compute new ones",
            hidden[kind],
            kind,
        )
    for rows in run_rows(store, todo.run_files, at_least=BATCH_SIZE):
        with open_for_writing() as connection:
            fold_run_rows(connection, rows, errors=errors)
    with open_for_writing() as connection:
        if not todo.materialized_is_current:
            refresh_all(connection)
        elif n_records:
            refresh(connection, changed=changed_tables, ids=new_ids)
        _store_listing(connection, todo)
    return n_records, n_rows


@contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """Disable the cyclic garbage collector: records have no cycles, and collecting takes a sixth of the time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _store_listing(connection: Connection, todo: Pending) -> None:
    """Store the hash of the list of records if all are folded; while it is the same, later folds skip the records."""
    if todo.n_in_store is None:
        return
    if connection.execute(statement("fold", "count_records")).fetchall() == [(todo.n_in_store,)]:
        write_state(connection, "records", todo.listing)


def _batches(store: Store, ids: Mapping[str, frozenset[str]]) -> Iterator[list[Record]]:
    """Yield the records with these ids in batches; records that cannot be read are skipped."""
    records = (with_texts(record, store) for record in store.each_record(ids))
    while batch := list(islice(records, BATCH_SIZE)):
        yield batch


def _fold_batch(connection: Connection, records: list[Record], *, errors: type[Exception]) -> list[Record]:
    """Fold records in one transaction, or in halves if one of them does not fit. Returns the folded records."""
    try:
        _insert(connection, records)
    except (errors, ValueError, KeyError, TypeError, AttributeError) as err:
        if len(records) == 1:
            logger.warning("record %s does not fit the catalog and is skipped: %s", records[0].path, err)
            return []
        middle = len(records) // 2
        halves = (records[:middle], records[middle:])
        return [record for half in halves for record in _fold_batch(connection, half, errors=errors)]
    return records


def _insert(connection: Connection, records: list[Record]) -> None:
    tables = declared_tables()
    rows: Rows = {}
    for record in records:
        add_rows(record, rows)
    for unknown in sorted(rows.keys() - tables.keys()):
        logger.warning("records have rows for a table that the catalog does not have: %s", unknown)
    with transaction(connection):
        invalidate_materialized(connection)
        for name in sorted(rows.keys() & tables.keys()):
            if rows[name]:
                insert_rows(connection, tables[name], rows[name])
        _note_wrong_rows(connection, records)


def _note_wrong_rows(connection: Connection, records: list[Record]) -> None:
    """Add the records with doubled or foreign rows to those that queries warn of."""
    shown = (without_texts(record) for record in records if is_shown(record.kind, record.step_version))
    wrong = [record.path for record in shown if any(row_problems(record))]
    if wrong:
        known = json.loads(read_state(connection, WRONG_ROWS) or "[]")
        write_state(connection, WRONG_ROWS, json.dumps(sorted({*known, *wrong})))
