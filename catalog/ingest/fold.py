"""Fold records and run files into the catalog: create its schema, and insert what it lacks.

Create and update the tables, views and macros of a catalog file.

The catalog is derived data. If a file has tables of another version, empty tables of the current version replace them,
and the next fold fills these from the records. Views and macros are created again when a `.sql` file has changed.
`COMMENT ON` copies the comments of the `.sql` files, so that the meaning of a table or column is written in one place.

Fold records and run files into the catalog: insert the rows of those that it lacks.

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

from catalog.ingest import record_rows, run_file_rows
from catalog.ingest.insert_rows import (
    CHANGE_KEY,
    Connection,
    insert_rows,
    invalidate_materialized,
    materialized_is_current,
    read_state,
    refresh,
    refresh_all,
    transaction,
    write_state,
)
from catalog.ingest.table_files import (
    NO_MEANING,
    SCHEMA_VERSION,
    declared_tables,
    foreign_keys,
    macros,
    meanings_in,
    schema_hash,
    views,
)
from catalog.sql_files import INTERNAL, SqlFile, statement
from mlprune.errors import StoreError
from mlprune.steps.questions.declaring_records import declaration_problems
from mlprune.store.record_kinds import is_shown, table_of
from mlprune.store.records import Record
from mlprune.store.store import Store
from mlprune.store.unsound_records import quarantine_listing

logger = logging.getLogger(__name__)
BOOKKEEPING = ("schema_version", "schema_objects", "foreign_keys")
"""Tables about the catalog file itself."""
STATE = "fold_state"
"""Table of values that one fold stores for the next. It is emptied with the tables that are filled from records, and a
comparison of two catalogs skips it."""
BATCH_SIZE = 15_000
"""Number of records, or run files, in one transaction."""
WRONG_ROWS: Final = "wrong rows"
"""Name of the state of the catalog of folded records with doubled or foreign rows, as a JSON list."""
QUARANTINED: Final = "quarantined recipes"
"""Name of the state of the catalog of the records of recipes in quarantine, as a JSON list of paths."""
OpenForWriting = Callable[[], AbstractContextManager[Connection]]
"""Opens the catalog for writing; it is closed at the end of the context."""


def is_current(connection: Connection) -> bool:
    """Whether a catalog file has the tables, views and macros of this package."""
    return _has_current_tables(connection) and _objects(connection) == _declared_objects()


def update_schema(connection: Connection) -> None:
    """Create the tables, views and macros of this package in a catalog file, in one transaction.

    Empty tables replace those of another version, so that all records are folded again.

    Raises:
        StoreError: a newer version of this package wrote the catalog.
    """
    existing = _existing_tables(connection)
    version = _version(connection) if "schema_version" in existing else None
    if version is not None and version > SCHEMA_VERSION:
        raise StoreError("the catalog was made by a newer version", expected=SCHEMA_VERSION, got=version)
    is_complete = _has_current_tables(connection)
    objects = _objects(connection) if "schema_objects" in existing else {}
    if is_complete and objects == _declared_objects():
        return
    with transaction(connection):
        connection.execute(statement("fold", "create_schema", name=INTERNAL))
        for kind, name in objects.keys() - _declared_objects().keys():
            connection.execute(statement("fold", "drop", what=kind, name=name))
        if not is_complete:
            for table in declared_tables().values():
                connection.execute(table.file.text)
            current = {"version": SCHEMA_VERSION, "statements": schema_hash()}
            insert_rows(connection, declared_tables()["schema_version"], [current])
        _create_views(connection)
        _write_comments(connection)
        _store_objects(connection)


def _has_current_tables(connection: Connection) -> bool:
    """Whether all tables exist, made by the current statements."""
    has_all = {table.relation for table in declared_tables().values()} <= _existing_tables(connection)
    if not has_all or _version(connection) != SCHEMA_VERSION:
        return False
    return connection.execute(statement("fold", "statements")).fetchall() == [(schema_hash(),)]


def _existing_tables(connection: Connection) -> set[str]:
    return {str(name) for (name,) in connection.execute(statement("fold", "existing_tables")).fetchall()}


def _version(connection: Connection) -> int | None:
    rows = connection.execute(statement("fold", "version")).fetchall()
    return int(rows[0][0]) if rows else None


def _objects(connection: Connection) -> dict[tuple[str, str], str]:
    """Return (kind, name) -> SHA-256 of the `.sql` file that the object in the catalog was created from."""
    rows = connection.execute(statement("fold", "objects")).fetchall()
    return {(str(kind), str(name)): str(sha256) for kind, name, sha256 in rows}


def _declared_objects() -> dict[tuple[str, str], str]:
    """Return (kind, name) -> SHA-256 of the `.sql` file in this package."""
    return {(kind, name): file.sha256 for kind, files in _files().items() for name, file in files.items()}


def _files() -> dict[str, Mapping[str, SqlFile]]:
    """Return kind of object (as SQL names it) -> name in SQL -> file."""
    tables = {table.relation: table.file for table in declared_tables().values()}
    return {"TABLE": tables, "VIEW": {view.relation: view for view in views().values()}, "MACRO TABLE": macros()}


def _create_views(connection: Connection) -> None:
    for file in (*views().values(), *macros().values()):
        connection.execute(file.text)


def _store_objects(connection: Connection) -> None:
    connection.execute(statement("fold", "empty_table", table="schema_objects"))
    rows = [{"kind": kind, "name": name, "sha256": sha256} for (kind, name), sha256 in _declared_objects().items()]
    insert_rows(connection, declared_tables()["schema_objects"], rows)
    connection.execute(statement("fold", "empty_table", table="foreign_keys"))
    keys = [
        {"table_name": declared_tables()[key.table].relation, "column_name": key.column, "parent_table": key.parent}
        | {"parent_column": key.parent_column}
        for key in foreign_keys()
    ]
    insert_rows(connection, declared_tables()["foreign_keys"], keys)


def _write_comments(connection: Connection) -> None:
    """Write the meaning of every table, view, macro and column into the catalog, in one call: there are hundreds."""
    comments = [
        _comment_on(kind, name, meaning=file.description)
        for kind, files in _files().items()
        for name, file in files.items()
    ]
    for table in declared_tables().values():
        for column in table.columns:
            comments.append(_comment_on("COLUMN", f"{table.relation}.{column.name}", meaning=column.meaning))
    for view, name in connection.execute(statement("fold", "view_columns")).fetchall():
        if view in views():  # not a view that a user created
            meaning = meanings_in(view).get(name, NO_MEANING)
            comments.append(_comment_on("COLUMN", f"{views()[view].relation}.{name}", meaning=meaning.text))
    connection.execute("".join(comments))


def _comment_on(kind: str, name: str, *, meaning: str) -> str:
    return statement("fold", "comment_on", what=kind, name=name, comment=meaning.replace("'", "''"))


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
    has_changed_quarantine: bool
    """Whether other records of recipes are in quarantine than at the last fold."""
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
        return not has_changes and not self.has_changed_quarantine and self.materialized_is_current


def pending(connection: Connection, store: Store) -> Pending:
    """List the records and run files of a store, and find those that the catalog lacks."""
    listing = store.list_records().sha256
    run_files, has_removed_run_files = run_file_rows.unfolded_run_files(connection, store)
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
        has_changed_quarantine=_quarantined(store) != (read_state(connection, QUARANTINED) or "[]"),
        materialized_is_current=materialized_is_current(connection),
        listing=listing,
        n_in_store=sum(map(len, stored.values())) if has_changed else None,
    )


def _quarantined(store: Store) -> str:
    return json.dumps(quarantine_listing(store, record_rows.RECIPES))


def remove_rows(connection: Connection, *, of_records: bool, of_runs: bool) -> None:
    """Remove all rows of records, of run files, or of both."""
    with transaction(connection):
        for name, table in declared_tables().items():
            if name not in BOOKKEEPING and (of_runs if name in run_file_rows.RUN_TABLES else of_records):
                connection.execute(statement("fold", "empty_table", table=table.relation))
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
    for rows in run_file_rows.run_rows(store, todo.run_files, at_least=BATCH_SIZE):
        with open_for_writing() as connection:
            run_file_rows.fold_run_rows(connection, rows, errors=errors)
    with open_for_writing() as connection:
        has_other_families = _update_quarantined_questions(connection, store, todo)
        if has_other_families or not todo.materialized_is_current:
            refresh_all(connection)
        elif n_records:
            refresh(connection, changed=changed_tables, ids=new_ids)
        _store_listing(connection, todo)
    return n_records, n_rows


def _update_quarantined_questions(connection: Connection, store: Store, todo: Pending) -> bool:
    """Insert the questions of damaged and quarantined records of recipes, after the sound ones were folded.

    Returns: whether they have changed, so that the sizes of families have, too.
    """
    if not (todo.has_changed_quarantine or todo.has_removed_records or record_rows.RECIPES in todo.records):
        return False
    table = declared_tables()["quarantined_questions"]
    listing = _quarantined(store)
    sound = {str(record_id) for (record_id,) in connection.execute(statement("fold", "folded_recipes")).fetchall()}
    lost = record_rows.quarantined_questions(store, sound=sound)
    known = connection.execute(statement("fold", "quarantined_questions")).fetchall()
    has_changed = [tuple(each.values()) for each in lost] != known
    with transaction(connection):
        if has_changed:
            invalidate_materialized(connection)
            connection.execute(statement("fold", "empty_table", table=table.name))
            if lost:
                insert_rows(connection, table, lost)
        write_state(connection, QUARANTINED, listing)
    return has_changed


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
    """Yield the records with these ids in batches, without those that cannot be read or whose rows were changed."""
    accepted = (record for record in store.each_record(ids) if not _is_refused(record))
    records = (record_rows.with_texts(record, store) for record in accepted)
    while batch := list(islice(records, BATCH_SIZE)):
        yield batch


def _is_refused(record: Record) -> bool:
    """Whether the rows of a recipe's record contradict its parameters, of which its id is a hash."""
    problem = next(declaration_problems(record), None) if record.kind == record_rows.RECIPES else None
    if problem is not None:
        logger.warning("record %s does not fit the catalog and is skipped: %s", record.path, problem)
    return problem is not None


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
    rows: record_rows.Rows = {}
    for record in records:
        record_rows.add_rows(record, rows)
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
    shown = (record_rows.without_texts(record) for record in records if is_shown(record.kind, record.step_version))
    wrong = [record.path for record in shown if any(record_rows.row_problems(record))]
    if wrong:
        known = json.loads(read_state(connection, WRONG_ROWS) or "[]")
        write_state(connection, WRONG_ROWS, json.dumps(sorted({*known, *wrong})))
