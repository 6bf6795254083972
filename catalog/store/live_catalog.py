"""The catalog of a store that other processes write to, for many queries over a long time.

It is a private file in a folder of this process. So it never waits for a run that has the store's catalog open, and
writes nothing to the store. The first refresh starts from a copy of the store's catalog; each later one folds what is
new. Queries run together, but not during a refresh.
"""

import hashlib
import io
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from catalog.results import QueryResult, Value
from catalog.store.catalog import Catalog
from catalog.store.connections import LIMITED_SETTINGS, QueryLimitError, QueryLimits, run_query, run_query_in_arrow
from catalog.store.database_file import FILE_NAME, SharedCatalog, snapshot_copy
from mlprune.store.run_log_files import run_files
from mlprune.store.store import Store

logger = logging.getLogger(__name__)

Answer = TypeVar("Answer")


def private_catalog(store: Store, folder: Path, *, settings: Mapping[str, str] | None = None) -> Catalog:
    """Return a catalog whose file is in a folder of this process, at first a copy of the store's catalog if it has one.

    Args:
        folder: an empty folder that the caller removes.
        settings: of DuckDB, for queries.
    """
    catalog = Catalog(store, folder / FILE_NAME, settings=settings)
    if store.local_root is None:
        catalog.shared = SharedCatalog(store, folder)
        return catalog
    try:
        snapshot_copy(store.local_root / FILE_NAME, folder)
    except OSError as err:
        logger.info("the catalog of the store cannot be copied, reading all records: %s", err)
    return catalog


class LiveCatalog:
    """A private catalog of a store. All methods can be called from any thread.

    Args:
        store: any store, also an empty one.
        folder: an empty folder that the caller removes after `close`.
    """

    def __init__(self, store: Store, folder: Path) -> None:
        self._store = store
        self._folder = folder
        self._catalog: Catalog | None = None
        self._listing = ""
        """Hash of the names of the records and run files that were folded."""
        self._access = _Access()

    def refresh(self) -> bool:
        """Fold what is new in the store; return whether there was anything.

        Raises:
            MlpruneError, OSError: the store cannot be read.
        """
        listing = self._current_listing()
        if listing == self._listing:
            return False
        with self._access.exclusive():
            if self._catalog is None:
                self._catalog = private_catalog(self._store, self._folder, settings=LIMITED_SETTINGS)
            self._catalog.fold()
            self._catalog.snapshot_id()  # opens the connection, so that two queries do not open it at once
        self._listing = listing
        return True

    def close(self) -> None:
        """Close the file, after the queries that are running."""
        with self._access.exclusive():
            if self._catalog is not None:
                self._catalog.close()
                self._catalog = None

    def use(self, function: Callable[[Catalog], Answer], *, wait_s: float) -> Answer:
        """Call a function with the catalog, which is not refreshed meanwhile.

        Args:
            wait_s: seconds to wait for a refresh that is running.
        Raises:
            QueryLimitError: the refresh takes longer, or the catalog has not been read yet.
        """
        with self._access.shared(wait_s):
            if self._catalog is None:
                raise QueryLimitError("the catalog has not been read yet", next="try again soon")
            return function(self._catalog)

    def _current_listing(self) -> str:
        """Return a hash of the names of the store's records and run files."""
        files = run_files(self._store)
        names = "\n".join([*files.single, *files.packs])
        return hashlib.sha256(f"{self._store.list_records().sha256}\n{names}".encode()).hexdigest()


def select_limited(
    catalog: Catalog,
    sql: str,
    values: Mapping[str, Value],
    *,
    limits: QueryLimits,
    tables: Mapping[str, pa.Table] | None = None,
) -> QueryResult:
    """Run one statement that only reads, within limits; see `Catalog.select` for the arguments and errors.

    Raises:
        QueryLimitError: a limit is exceeded.
    """
    read = catalog.with_answers(sql, values, tables)
    return catalog.use_connection(lambda connection: run_query(connection, sql, values, tables=read, limits=limits))


def parquet_limited(
    catalog: Catalog,
    sql: str,
    values: Mapping[str, Value],
    *,
    limits: QueryLimits,
    tables: Mapping[str, pa.Table] | None = None,
) -> bytes:
    """Run one statement that only reads, within limits, and return a Parquet file; see `select_limited`."""
    read = catalog.with_answers(sql, values, tables)
    table = catalog.use_connection(
        lambda connection: run_query_in_arrow(connection, sql, values, tables=read, limits=limits)
    )
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()


class _Access:
    """Many users at once, or an exclusive one. Users that arrive while one waits for exclusive access wait too."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._n_users = 0
        self._n_exclusive = 0
        """Threads that have, or wait for, exclusive access."""
        self._exclusive = threading.Lock()

    @contextmanager
    def shared(self, wait_s: float) -> Iterator[None]:
        """Wait until no thread has exclusive access, at most some seconds."""
        with self._condition:
            if not self._condition.wait_for(lambda: self._n_exclusive == 0, timeout=wait_s):
                raise QueryLimitError("the catalog is being read", next="try again soon")
            self._n_users += 1
        try:
            yield
        finally:
            with self._condition:
                self._n_users -= 1
                self._condition.notify_all()

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Wait until no other thread uses it."""
        with self._condition:
            self._n_exclusive += 1
        try:
            with self._exclusive:
                with self._condition:
                    self._condition.wait_for(lambda: self._n_users == 0)
                yield
        finally:
            with self._condition:
                self._n_exclusive -= 1
                self._condition.notify_all()
