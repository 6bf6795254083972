"""The catalog of one store: updated from the store's records, queried, and built again.

DuckDB allows one writing process or many readers. The file is therefore open as briefly as possible: `fold` writes to
it and closes it, and queries use a connection that can neither write nor access anything else. If the file is not
available (another process has it open, or the folder is read-only), queries read a copy of the file, or a catalog in
memory.
"""

import json
import logging
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import TypeVar

import duckdb
import pyarrow as pa

from catalog.ingest.fold import BOOKKEEPING, STATE, WRONG_ROWS, FoldResult
from catalog.ingest.run_file_rows import RUN_TABLES
from catalog.ingest.table_files import declared_tables
from catalog.results import QueryResult, Value
from catalog.sql_files import statement
from catalog.store import connections, database_file
from catalog.store.item_answers import artefact_table, called_answers
from mlprune.atomic import remove_left_over, unfinished_path
from mlprune.errors import EarlierVersionError, QueryError, StoreError
from mlprune.store.scratch import scratch_folder
from mlprune.store.store import Store

logger = logging.getLogger(__name__)
Answer = TypeVar("Answer")
DOWNLOAD_THRESHOLD = 200
"""If a cached catalog lacks more records than this, the uploaded catalog replaces it."""
REBUILDING = "rebuilding"
"""In the name of a catalog file that is being built."""


class Reader:
    """At most one open connection. Call `close` before opening another one.

    Args:
        settings: of DuckDB, for a connection to the catalog file.
    """

    def __init__(self, store: Store, settings: Mapping[str, str] | None = None) -> None:
        self._store = store
        self._settings = settings
        self.connection: duckdb.DuckDBPyConnection | None = None
        """None if no connection is open."""
        self._copy: tempfile.TemporaryDirectory[str] | None = None
        """Folder of the copy."""
        self._reads_file = False
        """Whether the connection is to the catalog file itself."""

    @property
    def reads_copy(self) -> bool:
        """Whether queries read a copy of the file."""
        return self._copy is not None

    def open_file(self, path: Path) -> bool:
        """Open the catalog file; return whether that was possible."""
        try:
            self.connection = connections.connect(path, read_only=True, settings=self._settings)
        except duckdb.Error as err:
            logger.warning("the catalog file cannot be read: %s", connections.one_line(err))
        self._reads_file = self.connection is not None
        return self._reads_file

    def open_copy(self, path: Path) -> bool:
        """Open a copy of a file that is not available, which is much faster than reading all records again.

        Returns: whether that was possible.
        """
        self._copy = scratch_folder()
        self.connection = database_file.update_copy(path, Path(self._copy.name), self._store)
        source = "memory" if self.connection is None else "a copy of it"
        logger.warning("the catalog file is not available, answering from %s", source)
        return self.connection is not None

    def open_in_memory(self) -> FoldResult:
        """Fold all records into a catalog in memory."""
        connection = duckdb.connect(":memory:")
        result = database_file.update_connection(connection, self._store, persisted=False)
        connections.make_read_only(connection)
        self.connection = connection
        return result

    def release(self) -> None:
        """Close the connection if it is to the catalog file itself."""
        if self._reads_file:
            self.close()

    def close(self) -> None:
        """Close the connection and delete the copy."""
        self._reads_file = False
        if self.connection is not None:
            self.connection.close()
            self.connection = None
        if self._copy is not None:
            self._copy.cleanup()
            self._copy = None


class Catalog:
    """The catalog of one store. Use `open` or `in_memory`; close it, or use it as a context manager."""

    def __init__(self, store: Store, path: Path | None, *, settings: Mapping[str, str] | None = None) -> None:
        self.store = store
        self.path = path
        """The catalog file; None if everything is in memory."""
        self.shared: database_file.SharedCatalog | None = None
        """The uploaded catalog of a remote store."""
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        """Folder of a catalog file that is deleted when the catalog is closed."""
        self._reader = Reader(store, settings)
        self._last_fold: FoldResult | None = None

    @classmethod
    def open(cls, store: Store) -> "Catalog":
        """Open the catalog in the folder of a local store, or in this machine's cache for a remote store."""
        if store.local_root is not None:
            return cls(store, store.local_root / database_file.FILE_NAME)
        folder, temporary = database_file.cache_folder(store), None
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as err:
            logger.warning("the catalog cannot be cached and is deleted when it is closed: %s", err)
            temporary = scratch_folder()
            folder = Path(temporary.name)
        catalog = cls(store, folder / database_file.FILE_NAME)
        catalog._temporary, catalog.shared = temporary, database_file.SharedCatalog(store, folder)
        return catalog

    @classmethod
    def in_memory(cls, store: Store) -> "Catalog":
        """Return a catalog that reads every record of the store and writes no file."""
        return cls(store, None)

    @classmethod
    def as_folded(cls, store: Store, path: Path, *, settings: Mapping[str, str] | None = None) -> "Catalog":
        """Return a catalog of a file that another process folds; this one only reads it.

        Args:
            settings: of DuckDB, for queries.
        """
        catalog = cls(store, path, settings=settings)
        catalog._last_fold = FoldResult(n_records=0, n_rows=0, persisted=True)
        return catalog

    def __enter__(self) -> "Catalog":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def is_temporary(self) -> bool:
        """Whether the file is deleted when the catalog is closed, because the machine has no cache folder."""
        return self._temporary is not None

    def close(self) -> None:
        """Close all connections and delete temporary files."""
        self._reader.close()
        if self._temporary is not None:
            self._temporary.cleanup()

    def release(self) -> None:
        """Close the connection to the file, so that other processes can write to it. Copies and memory stay open."""
        self._reader.release()

    def fold(self) -> FoldResult:
        """Bring the catalog up to date with its store.

        If the file is not available, nothing is folded and `persisted` is False. Queries then read a copy of the file
        or a catalog in memory, which the first query creates. The next fold catches up.

        Raises:
            EarlierVersionError: the store has records of version 0.1.
        """
        self._reader.close()
        if self.shared is not None:
            self.shared.fetch(is_outdated=self._is_outdated)
        self._last_fold = self._reader.open_in_memory() if self.path is None else self._fold_file(self.path)
        return self._last_fold

    def _fold_file(self, path: Path) -> FoldResult:
        """Fold into the file. One that is damaged or has another layout is moved aside and built again."""
        if not database_file.put_aside_unless_file(path):
            logger.warning("%s is not a file and cannot be moved, answering from memory", path)
            return FoldResult(n_records=0, n_rows=0, persisted=False)
        for is_first in (True, False):
            try:
                return database_file.update_file(path, self.store)
            except EarlierVersionError:
                raise
            except (duckdb.Error, StoreError, OSError) as err:
                problem = connections.problem_of_file(err)
                if not (is_first and problem and database_file.quarantine_file(path, problem=problem)):
                    is_locked = connections.is_locked(err)
                    consequence = "is in use; the next fold updates it" if is_locked else "cannot be updated"
                    logger.warning("the catalog file %s: %s", consequence, connections.one_line(err))
                    break
        return FoldResult(n_records=0, n_rows=0, persisted=False)

    def publish(self) -> bool:
        """Fold, and upload the catalog of a remote store unless the uploaded one is up to date.

        Returns: whether the uploaded catalog is up to date.
        """
        result = self.fold()
        if self.shared is None or self.path is None or not result.persisted:
            return False
        if result.n_records == 0 and self.shared.is_published():
            return True
        try:
            with connections.connect(self.path, read_only=True):  # no process can write to the file during the upload
                return self.shared.publish()
        except duckdb.Error as err:
            logger.warning("the catalog cannot be uploaded: %s", connections.one_line(err))
            return False

    def _is_outdated(self) -> bool:
        """Whether the cached file is damaged, or lacks more records than a download is worth."""
        if self.path is None:
            return False
        try:
            todo = database_file.pending_of_file(self.path, self.store)
        except duckdb.Error as err:
            return connections.is_damage(err)
        return todo is None or todo.n_records > DOWNLOAD_THRESHOLD

    def select(
        self, sql: str, parameters: Mapping[str, Value] | None = None, *, tables: Mapping[str, pa.Table] | None = None
    ) -> QueryResult:
        """Run one SQL query; the first one folds the catalog.

        Args:
            sql: one statement that only reads, with `$name` for each parameter.
            parameters: a value for each `$name`; values are bound, never inserted into the text.
            tables: name -> further table that the statement may read, as returned by `artefact_table`.
        Raises:
            QueryError: the text is not one reading statement, a parameter is missing or unknown, DuckDB refuses the
                statement, or two columns have the same name.
        """
        read = self.with_answers(sql, parameters or {}, tables)
        return self.use_connection(
            lambda connection: connections.run_query(connection, sql, parameters or {}, tables=read)
        )

    def query(self, sql: str, parameters: Mapping[str, Value] | None = None) -> list[dict[str, Value]]:
        """Return the rows of `select` as mappings from column name to value."""
        return self.select(sql, parameters).as_dicts()

    def arrow(
        self, sql: str, parameters: Mapping[str, Value] | None = None, *, tables: Mapping[str, pa.Table] | None = None
    ) -> pa.Table:
        """Run one SQL query and return a `pyarrow.Table`, which pandas and polars can use directly.

        Raises:
            QueryError: see `select`.
        """
        read = self.with_answers(sql, parameters or {}, tables)
        return self.use_connection(
            lambda connection: connections.run_query_in_arrow(connection, sql, parameters or {}, tables=read)
        )

    def with_answers(
        self, sql: str, parameters: Mapping[str, Value], tables: Mapping[str, pa.Table] | None
    ) -> dict[str, pa.Table]:
        """Return tables that a statement may read, with that of the answers which it calls; see `called_answers`."""
        return {**called_answers(sql, parameters, store=self.store, query=self.query), **(tables or {})}

    def artefact_table(self, folder: str, record_id: str) -> pa.Table:
        """Read and check the Parquet files of a record in one folder of the store, as one table.

        Args:
            folder: folder in the store, such as `predictions` for records of evaluations.
        Raises:
            QueryError: the record has no files, or one is missing or damaged.
        """
        files = self.query(statement("fold", "artefact_files"), {"id": record_id, "folder": folder})
        return artefact_table(self.store, files, folder=folder, record_id=record_id)

    def use_connection(self, function: Callable[[duckdb.DuckDBPyConnection], Answer]) -> Answer:
        """Call a function with a connection that can only read.

        If a copy of the file turns out to be inconsistent, because another process wrote to the file meanwhile, the
        function is called again with a catalog in memory.
        """
        try:
            return function(self._connection())
        except (QueryError, duckdb.Error) as err:
            cause = err.__cause__ if isinstance(err, QueryError) else err
            if not (self._reader.reads_copy and isinstance(cause, duckdb.Error) and connections.is_damage(cause)):
                raise
            logger.warning("the copy of the catalog cannot be read, answering from memory: %s", err)
        self._reader.close()
        self._reader.open_in_memory()
        return function(self._connection())

    def records_with_wrong_rows(self) -> list[str]:
        """Return the paths of the folded records that have doubled rows, or rows of other records or tables."""
        rows = self.select(statement("fold", "state"), {"name": WRONG_ROWS}).rows
        return [str(path) for path in json.loads(str(rows[0][0]))] if rows else []

    def fingerprints(self) -> dict[str, tuple[int, int]]:
        """Return table -> (number of rows, sum over the rows) for the tables that are filled from records.

        Equal catalogs have equal fingerprints.
        """
        tables = [one for name, one in declared_tables().items() if name not in (*BOOKKEEPING, *RUN_TABLES, STATE)]
        counts = (
            statement("fold", "fingerprint", table=table.name, relation=table.relation).rstrip().removesuffix(";")
            for table in tables
        )
        return {str(name): (int(n), int(total)) for name, n, total in self.select("\nUNION ALL\n".join(counts)).rows}

    def snapshot_id(self) -> str:
        """Return 20 hex digits that are equal if and only if equal records were folded."""
        return str(self.select(statement("fold", "snapshot")).rows[0][0])

    def _connection(self) -> duckdb.DuckDBPyConnection:
        """Return the read-only connection to the file, a copy of it, or memory; the first query opens it."""
        if self._reader.connection is None and self.path is not None:
            folded = self._last_fold or self.fold()
            if not (folded.persisted and self._reader.open_file(self.path)):
                self._reader.open_copy(self.path)
        if self._reader.connection is None:
            self._reader.open_in_memory()
        if self._reader.connection is None:
            raise StoreError("the catalog has no connection", store=self.store.uri)
        return self._reader.connection


def rebuild(store: Store) -> FoldResult:
    """Build a new catalog file from the records, next to the old file, and then replace the old file atomically.

    The catalog of a remote store is built in this machine's cache and uploaded.

    Raises:
        StoreError: another process writes to the old file, the store is read-only, the disk is full, or the machine has
            no cache folder.
    """
    store.require_writable()
    with Catalog.open(store) as catalog:
        if catalog.is_temporary or catalog.path is None:
            raise StoreError("the machine has no cache folder for the catalog", store=store.uri)
        try:
            result = _rebuild_file(store, catalog.path)
        except (duckdb.Error, OSError) as err:
            message = "the catalog cannot be built again; the old one stays"
            raise StoreError(message, path=str(catalog.path), reason=connections.one_line(err)) from err
        if catalog.shared is not None:
            catalog.shared.publish()
    return result


def _rebuild_file(store: Store, path: Path) -> FoldResult:
    path.parent.mkdir(parents=True, exist_ok=True)
    database_file.put_aside_unless_file(path)
    remove_left_over(path, REBUILDING)
    fresh = unfinished_path(path, REBUILDING)
    try:
        connections.require_free(path)
        with connections.connect(fresh, read_only=False) as connection:
            result = database_file.update_connection(connection, store, persisted=True)
        database_file.write_ahead_log(path).unlink(missing_ok=True)
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)
        database_file.write_ahead_log(fresh).unlink(missing_ok=True)
    return result
