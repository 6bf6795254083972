"""The catalog of one store: brought up to date, and asked.

DuckDB admits one writing process or many readers, so the file is held as briefly as possible: written by `fold`, then
closed, and read through a connection that can neither write nor reach outside. Where the file cannot be had (held by
somebody else, a folder nobody may write to) the same questions are answered from a copy of it, or from memory.
"""

import logging
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import duckdb

from catalog.ingest.fold import FoldResult
from catalog.ingest.run_rows import RUN_TABLES
from catalog.ingest.schema import BOOKKEEPING, STATE
from catalog.ingest.table_files import declared_tables
from catalog.results import QueryResult
from catalog.sql_files import statement
from catalog.store.artefact_tables import artefact_table
from catalog.store.connections import (
    answer,
    answer_in_arrow,
    close_to_questions,
    connect,
    is_damage,
    is_locked,
    one_line,
)
from catalog.store.database_file import FILE_NAME, quarantine_file
from catalog.store.shared_copy import SharedCatalog, cache_folder
from catalog.store.update import n_missing, update_connection, update_copy, update_file
from mlprune.errors import QueryError, StoreError
from mlprune.store.scratch import scratch_folder
from mlprune.store.store import Store

logger = logging.getLogger(__name__)

Answer = TypeVar("Answer")

FETCH_FROM = 200
"""Records that a cached catalog may lack before another one, where there is one, is downloaded."""


class Catalog:
    """The catalog of one store. Use `open` or `in_memory`; close it, or use it as a context manager."""

    def __init__(self, store: Store, path: Path | None) -> None:
        self.store = store
        self.path = path
        """The catalog file; None if everything is in memory."""
        self._connection: duckdb.DuckDBPyConnection | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self.shared: SharedCatalog | None = None
        """What others share of the catalog of a remote store."""
        self._copy: tempfile.TemporaryDirectory[str] | None = None
        """Where the copy lies that questions are answered from."""
        self._folded: FoldResult | None = None
        """What the last fold did."""

    @classmethod
    def open(cls, store: Store) -> "Catalog":
        """The catalog in the store's folder; for a remote store the one in this machine's cache."""
        if store.local_root is not None:
            return cls(store, store.local_root / FILE_NAME)
        folder, temporary = cache_folder(store), None
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as err:
            logger.warning("no cache for the catalog (%s): it goes when it is closed", err)
            temporary = scratch_folder()
            folder = Path(temporary.name)
        catalog = cls(store, folder / FILE_NAME)
        catalog._folder, catalog.shared = temporary, SharedCatalog(store, folder)
        return catalog

    @classmethod
    def in_memory(cls, store: Store) -> "Catalog":
        """A catalog that reads every record of the store and leaves nothing behind."""
        return cls(store, None)

    def __enter__(self) -> "Catalog":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def is_temporary(self) -> bool:
        """Whether the file goes when the catalog is closed: there is no place to keep it."""
        return self._folder is not None

    def close(self) -> None:
        """Let go of the file."""
        self._release()
        if self._folder is not None:
            self._folder.cleanup()

    def fold(self) -> FoldResult:
        """Bring the catalog up to date with its store.

        Where the file cannot be had nothing is folded, which `persisted` says: the next fold catches up, and a question
        is answered from a copy of the file or from memory. A run that asks nothing loses no time.
        """
        self._release()
        if self.shared is not None:
            self.shared.fetch(is_far_behind=self._is_far_behind)
        self._folded = self._fold_in_memory() if self.path is None else self._fold_file(self.path)
        return self._folded

    def _fold_file(self, path: Path) -> FoldResult:
        """Fold into the file; one that is damaged is set aside and made anew."""
        for is_first in (True, False):
            try:
                return update_file(path, self.store)
            except (duckdb.Error, StoreError, OSError) as err:
                if not (is_first and is_damage(err) and quarantine_file(path)):
                    why = "is in use" if is_locked(err) else "cannot be used"
                    logger.warning("the catalog file %s, the next fold catches up: %s", why, one_line(err))
                    break
        return FoldResult(n_records=0, n_rows=0, persisted=False)

    def publish(self) -> bool:
        """Fold, and give the catalog of a remote store to others, unless they have it; returns whether they do now."""
        result = self.fold()
        if self.shared is None or not result.persisted:
            return False
        if result.n_records == 0 and self.shared.is_published():
            return True
        assert self.path is not None
        try:
            with connect(self.path, read_only=True):  # nobody writes to it meanwhile
                return self.shared.publish()
        except duckdb.Error as err:
            logger.warning("the catalog cannot be uploaded: %s", one_line(err))
            return False

    def _is_far_behind(self) -> bool:
        """Whether the cached file lacks so many records that another one had better be downloaded."""
        assert self.path is not None
        try:
            n_records = n_missing(self.path, self.store)
        except duckdb.Error as err:
            return is_damage(err)
        return n_records is None or n_records > FETCH_FROM

    def _fold_in_memory(self) -> FoldResult:
        connection = duckdb.connect(":memory:")
        result = update_connection(connection, self.store, persisted=False)
        close_to_questions(connection)
        self._connection = connection
        return result

    def select(
        self, sql: str, parameters: Mapping[str, Any] | None = None, *, tables: Mapping[str, Any] | None = None
    ) -> QueryResult:
        """Answer one SQL question; the catalog is folded first if it was not yet.

        Args:
            sql: one statement that only reads, with `$name` for each parameter.
            parameters: a value for each `$name`; they are bound, never pasted into the text.
            tables: name -> `pyarrow.Table` that the statement may read too, as `artefact_table` gives them.
        Raises:
            QueryError: the text is not one reading statement, a parameter is missing or unknown, DuckDB refuses the
                statement, or two columns have one name.
        """
        return self.ask(lambda connection: answer(connection, sql, dict(parameters or {}), lent=tables or {}))

    def query(self, sql: str, parameters: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        """The rows of `select` as mappings from column name to value."""
        return self.select(sql, parameters).as_dicts()

    def arrow(
        self, sql: str, parameters: Mapping[str, Any] | None = None, *, tables: Mapping[str, Any] | None = None
    ) -> Any:
        """The answer to one SQL question as a `pyarrow.Table`, which pandas and polars take in as it is.

        Raises:
            QueryError: see `select`.
        """
        return self.ask(lambda connection: answer_in_arrow(connection, sql, dict(parameters or {}), lent=tables or {}))

    def artefact_table(self, folder: str, record_id: str) -> Any:
        """The Parquet files of a record in one folder of the store, read and checked, as one `pyarrow.Table`.

        Args:
            folder: such as `predictions`, whose records are evaluations.
        Raises:
            QueryError: there are none, or one is missing or damaged.
        """
        files = self.query(statement("fold", "artefact_files"), {"id": record_id, "folder": folder})
        return artefact_table(self.store, files, folder=folder, record_id=record_id)

    def ask(self, question: Callable[[duckdb.DuckDBPyConnection], Answer]) -> Answer:
        """Put a question to a connection that can only read.

        A copy that turns out torn, where the file was being written to, is not asked again: the question is put once
        more, from its beginning, to a catalog in memory.
        """
        try:
            return question(self._reader())
        except (QueryError, duckdb.Error) as err:
            cause = err.__cause__ if isinstance(err, QueryError) else err
            if self._copy is None or not isinstance(cause, duckdb.Error) or not is_damage(cause):
                raise
            logger.warning("the copy of the catalog cannot be read, answering from memory: %s", err)
        self._release()
        self._fold_in_memory()
        return question(self._reader())

    def fingerprints(self) -> dict[str, tuple[int, int]]:
        """Number of rows and a sum over them, for each table that follows from records: equal for equal catalogs."""
        names = [name for name in declared_tables() if name not in (*BOOKKEEPING, *RUN_TABLES, STATE)]
        rows = {name: self.select(statement("fold", "fingerprint", table=name)).rows[0] for name in names}
        return {name: (int(row[0]), int(row[1])) for name, row in rows.items()}

    def snapshot_id(self) -> str:
        """The name of what the catalog holds, 20 hex digits: equal exactly where equal records were folded."""
        return str(self.select(statement("fold", "snapshot")).rows[0][0])

    def _reader(self) -> duckdb.DuckDBPyConnection:
        """A connection that can only read, opened at the first question: to the file, a copy of it, or memory."""
        if self._connection is None and self.path is not None:
            folded = self._folded or self.fold()
            if not (folded.persisted and self._open(self.path)):
                self._open_another(self.path)
        if self._connection is None:
            self._fold_in_memory()
        assert self._connection is not None
        return self._connection

    def _open(self, path: Path) -> bool:
        """Open the file, if it can be had."""
        try:
            self._connection = connect(path, read_only=True)
        except duckdb.Error as err:
            logger.warning("the catalog file cannot be read: %s", one_line(err))
        return self._connection is not None

    def _open_another(self, path: Path) -> None:
        """Open a copy of a file that cannot be had, which is far quicker than reading all records again."""
        self._copy = scratch_folder()
        self._connection = update_copy(path, Path(self._copy.name), self.store)
        what = "memory" if self._connection is None else "a copy of it"
        logger.warning("the catalog file cannot be had, answering from %s", what)

    def _release(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._copy is not None:
            self._copy.cleanup()
            self._copy = None
