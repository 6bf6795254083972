"""Bringing a catalog up to date: the schema first, then what the store has and the catalog has not."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

import duckdb

from catalog.ingest.fold import FoldResult, fold_into, pending
from catalog.ingest.schema import is_current, update_schema
from catalog.store.connections import LET_OTHERS_S, close_to_questions, connect, one_line
from catalog.store.database_file import copied
from mlprune.errors import StoreError
from mlprune.store.store import Store

logger = logging.getLogger(__name__)

AT_ONCE = 500
"""So many records and run files are folded without letting go of the file: it takes less time than waiting does."""

Opening = Callable[[], AbstractContextManager[duckdb.DuckDBPyConnection]]


def update_file(path: Path, store: Store) -> FoldResult:
    """Fold into a file, which is held only while rows are added to it: between two batches others may have it.

    Raises:
        duckdb.Error: somebody holds the file, or it is damaged.
        StoreError: the catalog was made by a newer version of this package.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
    elif is_up_to_date(path, store):
        return FoldResult(n_records=0, n_rows=0, persisted=True)
    return _fill(_Turns(path).opened, store, persisted=True)


def update_connection(connection: duckdb.DuckDBPyConnection, store: Store, *, persisted: bool) -> FoldResult:
    """Fold into a catalog that nobody else knows of."""
    return _fill(lambda: nullcontext(connection), store, persisted=persisted)


def update_copy(path: Path, folder: Path, store: Store) -> duckdb.DuckDBPyConnection | None:
    """Fold into a copy of a file that somebody else has.

    Args:
        folder: takes the copy.
    Returns: a connection that can only answer questions; None if there is no room, or the copy cannot be read.
    """
    try:
        copy = copied(path, folder)
        if copy is None:
            return None
        connection = connect(copy, read_only=False)
        update_connection(connection, store, persisted=False)
        close_to_questions(connection)
    except (duckdb.Error, StoreError, OSError) as err:
        logger.info("a copy of the catalog cannot be used: %s", one_line(err))
        return None
    return connection


def is_up_to_date(path: Path, store: Store) -> bool:
    """Whether nothing has to be written: asked as a reader, so that readers do not shut each other out."""
    with connect(path, read_only=True) as connection:
        return is_current(connection) and pending(connection, store).is_empty


def n_missing(path: Path, store: Store) -> int | None:
    """How many records a file lacks; None if it is of another schema."""
    with connect(path, read_only=True) as connection:
        return pending(connection, store).n_records if is_current(connection) else None


class _Turns:
    """Opens a file again and again, and lets others have it in between."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._closed_at = float("-inf")

    @contextmanager
    def opened(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """The file, open for writing."""
        time.sleep(max(0.0, self._closed_at + LET_OTHERS_S - time.monotonic()))
        with connect(self._path, read_only=False) as connection:
            yield connection
        self._closed_at = time.monotonic()


def _fill(opening: Opening, store: Store, *, persisted: bool) -> FoldResult:
    with opening() as connection:
        update_schema(connection)
        todo = pending(connection, store)
        is_little = todo.n_records + len(todo.run_files) <= AT_ONCE
        if is_little:
            n_records, n_rows = fold_into(lambda: nullcontext(connection), store, todo, errors=duckdb.Error)
    if not is_little:
        n_records, n_rows = fold_into(opening, store, todo, errors=duckdb.Error)
    return FoldResult(n_records=n_records, n_rows=n_rows, persisted=persisted)
