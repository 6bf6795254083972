"""Update a catalog: first its schema, then the rows of the records and run files that it lacks."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

import duckdb

from catalog.ingest.fold import FoldResult, Pending, fold_into, pending
from catalog.ingest.schema import is_current, update_schema
from catalog.ingest.transactions import Connection
from catalog.store.connections import WRITE_PAUSE_S, InterruptibleConnection, connect, make_read_only, one_line
from catalog.store.database_file import snapshot_copy
from mlprune.errors import StoreError
from mlprune.store.store import Store

logger = logging.getLogger(__name__)

SMALL_FOLD = 500
"""Maximum number of records and run files to fold without closing the file in between: the pauses would take longer
than the fold."""

OpenForWriting = Callable[[], AbstractContextManager[Connection]]


def update_file(path: Path, store: Store) -> FoldResult:
    """Fold into a file. It is open only while rows are inserted, so other processes can use it between two batches.

    Raises:
        duckdb.Error: another process has the file open, or it is damaged.
        StoreError: the catalog was made by a newer version of this package.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
    elif is_up_to_date(path, store):
        return FoldResult(n_records=0, n_rows=0, persisted=True)
    return _update(_WriteSlots(path).open, store, persisted=True)


def update_connection(connection: duckdb.DuckDBPyConnection, store: Store, *, persisted: bool) -> FoldResult:
    """Fold into a catalog that no other process uses."""
    return _update(lambda: nullcontext(InterruptibleConnection(connection)), store, persisted=persisted)


def update_copy(path: Path, folder: Path, store: Store) -> duckdb.DuckDBPyConnection | None:
    """Fold into a copy of a file that another process has open.

    Args:
        folder: folder for the copy.
    Returns: a read-only connection; None if there is not enough space, or the copy cannot be read.
    """
    try:
        copy = snapshot_copy(path, folder)
        if copy is None:
            return None
        connection = connect(copy, read_only=False)
        update_connection(connection, store, persisted=False)
        make_read_only(connection)
    except (duckdb.Error, StoreError, OSError) as err:
        logger.info("a copy of the catalog cannot be used: %s", one_line(err))
        return None
    return connection


def is_up_to_date(path: Path, store: Store) -> bool:
    """Whether nothing has to be written. The check only reads, so that readers do not block each other."""
    with connect(path, read_only=True) as connection:
        return is_current(connection) and pending(connection, store).is_empty


def pending_of_file(path: Path, store: Store) -> Pending | None:
    """Return the difference between a store and a catalog file; None if the file has another schema."""
    with connect(path, read_only=True) as connection:
        return pending(connection, store) if is_current(connection) else None


class _WriteSlots:
    """Open a file repeatedly, with pauses in which other processes can open it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._closed_at = float("-inf")

    @contextmanager
    def open(self) -> Iterator[Connection]:
        """Open the file for writing, after a pause since it was last closed."""
        time.sleep(max(0.0, self._closed_at + WRITE_PAUSE_S - time.monotonic()))
        with connect(self._path, read_only=False) as connection:
            yield InterruptibleConnection(connection)
        self._closed_at = time.monotonic()


def _update(open_for_writing: OpenForWriting, store: Store, *, persisted: bool) -> FoldResult:
    with open_for_writing() as connection:
        update_schema(connection)
        todo = pending(connection, store)
        is_small = todo.n_records + len(todo.run_files) <= SMALL_FOLD
        if is_small:
            n_records, n_rows = fold_into(lambda: nullcontext(connection), store, todo, errors=duckdb.Error)
    if not is_small:
        n_records, n_rows = fold_into(open_for_writing, store, todo, errors=duckdb.Error)
    return FoldResult(n_records=n_records, n_rows=n_rows, persisted=persisted)
