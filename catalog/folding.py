"""Folding: records and run files that are in the store and not yet in the catalog become rows of it.

Every row of every table but `jobs` and `failures` comes word for word from `Record.rows` or follows from the record's
own parents and artefacts. Where a record has left the store (quarantine), everything is folded again: rarer than the
bookkeeping that a removal row by row would need, and equal to a rebuilt catalog by construction.
"""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from catalog.schema import BOOKKEEPING, RUN_TABLES, Connection, Table, insert_rows, tables, transaction
from catalog.sql_files import statement
from mlprune.records import Record
from mlprune.storage import Store

logger = logging.getLogger(__name__)

BATCH_SIZE = 4_000
"""Records, or run files, in one transaction."""

Rows = dict[str, list[dict[str, Any]]]


@dataclass(frozen=True)
class FoldResult:
    """What a fold did."""

    n_records: int
    """Records folded now."""
    n_rows: int
    """Rows they contributed."""
    persisted: bool
    """False: the catalog file could not be used, and questions are answered from memory."""


@dataclass(frozen=True)
class Pending:
    """The difference between a store and a catalog."""

    records: tuple[tuple[str, str], ...]
    run_files: tuple[str, ...]
    records_left: bool
    """Whether the catalog holds records that are no longer in the store."""
    run_files_left: bool

    @property
    def n_records(self) -> int:
        """Records to be folded."""
        return len(self.records)

    @property
    def is_empty(self) -> bool:
        """Whether the catalog is up to date."""
        return not (self.records or self.run_files or self.records_left or self.run_files_left)


def pending(connection: Connection, store: Store) -> Pending:
    """What is to be folded: one listing of records and one of run files, compared with the catalog."""
    names = store.record_names()
    paths = [path for path in store.list("runs") if _run_table(path)]
    known = set(connection.execute(statement("fold", "folded_records")).fetchall())
    known_files = {path for (path,) in connection.execute(statement("fold", "folded_run_files")).fetchall()}
    records_left = bool(known - set(names))
    run_files_left = bool(known_files - set(paths))
    return Pending(
        records=tuple(name for name in names if records_left or name not in known),
        run_files=tuple(path for path in paths if run_files_left or path not in known_files),
        records_left=records_left,
        run_files_left=run_files_left,
    )


def empty(connection: Connection, *, of_records: bool, of_runs: bool) -> None:
    """Remove all rows that came from records, from runs, or from both."""
    with transaction(connection):
        for name in tables(connection):
            if name not in BOOKKEEPING and (of_runs if name in RUN_TABLES else of_records):
                connection.execute(statement("fold", "empty_table", table=name))


def fold_into(connection: Connection, store: Store, *, errors: type[Exception]) -> tuple[int, int]:
    """Fold what is missing, in short transactions.

    Args:
        connection: open for writing, its schema current.
        store: the store it is an index of.
        errors: what the connection raises for rows that do not fit their table.
    Returns: number of records folded, and of the rows they contributed.
    """
    todo = pending(connection, store)
    if todo.records_left or todo.run_files_left:
        empty(connection, of_records=todo.records_left, of_runs=todo.run_files_left)
    known = tables(connection)
    n_records = n_rows = 0
    for start in range(0, len(todo.records), BATCH_SIZE):
        records = _read(store, todo.records[start : start + BATCH_SIZE])
        for folded in _fold_batch(connection, records, known=known, errors=errors):
            n_records += 1
            n_rows += sum(len(rows) for rows in folded.rows.values())
    for start in range(0, len(todo.run_files), BATCH_SIZE):
        _fold_run_files(connection, store, paths=todo.run_files[start : start + BATCH_SIZE], errors=errors)
    return n_records, n_rows


def _read(store: Store, names: Iterable[tuple[str, str]]) -> list[Record]:
    """Records by name, without those that cannot be read."""
    records = []
    for kind, record_id in names:
        try:
            record = store.read_record(kind, record_id)
        except OSError as err:
            logger.warning("record %s/%s cannot be read: %s", kind, record_id, err)
            continue
        if record is not None and (record.kind, record.id) == (kind, record_id):
            records.append(record)
        elif record is not None:
            logger.warning("record %s/%s calls itself %s/%s: left out", kind, record_id, record.kind, record.id)
    return records


def _fold_batch(
    connection: Connection, records: list[Record], *, known: dict[str, Table], errors: type[Exception]
) -> list[Record]:
    """Fold records in one transaction; if one of them does not fit, in halves. Returns those that fit."""
    try:
        _insert(connection, records, known=known)
    except (errors, ValueError) as err:
        if len(records) == 1:
            logger.warning("record %s does not fit the catalog and is left out: %s", records[0].path, err)
            return []
        middle = len(records) // 2
        halves = (records[:middle], records[middle:])
        return [fit for half in halves for fit in _fold_batch(connection, half, known=known, errors=errors)]
    return records


def _insert(connection: Connection, records: list[Record], *, known: dict[str, Table]) -> None:
    rows: Rows = {}
    for record in records:
        for table, more in (*_own_rows(record).items(), *record.rows.items()):
            rows.setdefault(table, []).extend(more)
    for unknown in sorted(set(rows) - set(known)):
        logger.warning("records hold rows of a table this catalog does not have: %s", unknown)
    with transaction(connection):
        for name in sorted(set(rows) & set(known)):
            if rows[name]:
                insert_rows(connection, known[name], rows[name])


def _own_rows(record: Record) -> Rows:
    """The rows that follow from a record itself."""
    keys = {"kind": record.kind, "id": record.id}
    parents = [
        {**keys, "role": role, "parent_id": parent}
        for role, value in record.parents.items()
        for parent in ([value] if isinstance(value, str) else value)
    ]
    return {
        "records": [{**keys, "step_version": record.step_version, "n_artefacts": len(record.artefacts)}],
        "record_parents": parents,
        "artefacts": [{**vars(artefact), **keys} for artefact in record.artefacts],
    }


def _run_table(path: str) -> str | None:
    """The table a run file belongs to: `job-3.json` to jobs, `failure-0.json` to failures."""
    return {"job": "jobs", "failure": "failures"}.get(path.rpartition("/")[2].partition("-")[0])


def _fold_run_files(connection: Connection, store: Store, *, paths: Iterable[str], errors: type[Exception]) -> None:
    """Add rows of run files; one that cannot be read or does not fit is left out, with a warning."""
    known = tables(connection)
    rows: Rows = {}
    for path in paths:
        try:
            rows.setdefault(_run_table(path) or "", []).append({**store.read_json(path), "run_file": path})
        except (OSError, ValueError, TypeError) as err:
            logger.warning("run file %s cannot be read: %s", path, err)
    for name, table_rows in rows.items():
        try:
            insert_rows(connection, known[name], table_rows)
        except (errors, ValueError):
            _insert_one_by_one(connection, known[name], table_rows, errors=errors)


def _insert_one_by_one(
    connection: Connection, table: Table, rows: list[dict[str, Any]], *, errors: type[Exception]
) -> None:
    for row in rows:
        try:
            insert_rows(connection, table, [row])
        except (errors, ValueError) as err:
            logger.warning("run file %s does not fit the catalog and is left out: %s", row["run_file"], err)
