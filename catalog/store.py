"""The catalog file, and the only owner of DuckDB: folding records into it and asking it questions.

DuckDB admits one writing process or many readers, so the file is held as briefly as possible: written by `fold`, then
closed, and read through a connection that can neither write nor reach outside. Where the file cannot be used at all
(held by somebody else, a folder nobody may write to) the same questions are answered from memory.
"""

import logging
import re
import tempfile
import uuid
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import duckdb
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_random_exponential

from catalog.files import FILE_NAME, set_aside, write_ahead_log
from catalog.folding import FoldResult, fold_into, pending
from catalog.remote import SharedCatalog, cache_folder
from catalog.results import QueryResult
from catalog.schema import BOOKKEEPING, RUN_TABLES, is_current, migrate, tables
from catalog.sql_files import statement
from mlprune.errors import QueryError, StoreError
from mlprune.storage import Store

logger = logging.getLogger(__name__)

FETCH_FROM = 200
"""Records that a cached catalog may lack before another one, where there is one, is downloaded."""
LOCK_PATIENCE_S = 1.5
"""How long to wait for somebody who holds the file."""

_CLOSED = {"enable_external_access": "false", "python_enable_replacements": "false", "lock_configuration": "true"}
"""Settings under which a query reaches no file, no network and no Python variable, and cannot change that."""
_LOCKED = re.compile(r"set lock on file|different configuration")
_DAMAGED = re.compile(r"not a valid DuckDB|Corrupt|checksum|not read enough bytes|database file with version|serializ")


class Catalog:
    """The catalog of one store. Use `open` or `in_memory`; close it, or use it as a context manager."""

    def __init__(self, store: Store, path: Path | None) -> None:
        self.store = store
        self.path = path
        """The catalog file; None if everything is in memory."""
        self._connection: duckdb.DuckDBPyConnection | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._shared: SharedCatalog | None = None

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
            temporary = tempfile.TemporaryDirectory(prefix="mlprune-catalog-")
            folder = Path(temporary.name)
        catalog = cls(store, folder / FILE_NAME)
        catalog._folder, catalog._shared = temporary, SharedCatalog(store, folder)
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

    def close(self) -> None:
        """Let go of the file."""
        self._release()
        if self._folder is not None:
            self._folder.cleanup()

    def fold(self) -> FoldResult:
        """Bring the catalog up to date with its store; `persisted` says whether the file could be written."""
        self._release()
        if self._shared is not None:
            self._shared.fetch(is_far_behind=self._is_far_behind)
        for _ in range(2 if self.path is not None else 0):
            assert self.path is not None
            try:
                return self._fold_file(self.path)
            except (duckdb.Error, StoreError, OSError) as err:
                if not (_is_damage(err) and set_aside(self.path)):
                    logger.warning("the catalog file cannot be used, answering from memory: %s", _one_line(err))
                    break
        return self._fold_in_memory()

    def publish(self) -> bool:
        """Fold, and give the catalog of a remote store to others, unless they have it; returns whether they do now."""
        result = self.fold()
        if self._shared is None or not result.persisted:
            return False
        if result.n_records == 0 and self._shared.is_published():
            return True
        assert self.path is not None
        try:
            with _connect(self.path, read_only=True):  # nobody writes to it meanwhile
                return self._shared.publish()
        except duckdb.Error as err:
            logger.warning("the catalog cannot be uploaded: %s", _one_line(err))
            return False

    def _is_far_behind(self) -> bool:
        """Whether the cached file lacks so many records that another one had better be downloaded."""
        assert self.path is not None
        try:
            with _connect(self.path, read_only=True) as connection:
                return not is_current(connection) or pending(connection, self.store).n_records > FETCH_FROM
        except duckdb.Error as err:
            return _is_damage(err)

    def _fold_file(self, path: Path) -> FoldResult:
        if path.exists() and self._is_up_to_date(path):
            return FoldResult(n_records=0, n_rows=0, persisted=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        with _connect(path, read_only=False) as connection:
            return _fill(connection, self.store, persisted=True)

    def _is_up_to_date(self, path: Path) -> bool:
        """Whether nothing has to be written: asked as a reader, so that readers do not shut each other out."""
        with _connect(path, read_only=True) as connection:
            return is_current(connection) and pending(connection, self.store).is_empty

    def _fold_in_memory(self) -> FoldResult:
        connection = duckdb.connect(":memory:")
        result = _fill(connection, self.store, persisted=False)
        for name, value in _CLOSED.items():
            connection.execute(f"SET {name} = {value}")
        self._connection = connection
        return result

    def select(self, sql: str, parameters: Mapping[str, Any] | None = None) -> QueryResult:
        """Answer one SQL question; the catalog is folded first if it was not yet.

        Args:
            sql: one statement that only reads, with `$name` for each parameter.
            parameters: a value for each `$name`; they are bound, never pasted into the text.
        Raises:
            QueryError: the text is not one reading statement, a parameter is missing or unknown, DuckDB refuses the
                statement, or two columns have one name.
        """
        values = dict(parameters or {})
        try:
            text = _reading_statement(sql, values)
            cursor = self._reader().cursor()
            cursor.execute("BEGIN TRANSACTION READ ONLY")
            try:
                cursor.execute(text, values or None)
                columns = tuple(column[0] for column in cursor.description or ())
                rows = tuple(cursor.fetchall())
            finally:
                cursor.close()
        except (duckdb.Error, ValueError, OverflowError) as err:
            raise QueryError("the query cannot be answered", reason=_one_line(err)) from err
        return QueryResult(columns, rows)

    def query(self, sql: str, parameters: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        """The rows of `select` as mappings from column name to value."""
        return self.select(sql, parameters).as_dicts()

    def fingerprints(self) -> dict[str, tuple[int, int]]:
        """Number of rows and a sum over them, for each table that follows from records: equal for equal catalogs."""
        names = [name for name in tables(self._reader()) if name not in (*BOOKKEEPING, *RUN_TABLES)]
        rows = {name: self.select(statement("fold", "fingerprint", table=name)).rows[0] for name in names}
        return {name: (int(row[0]), int(row[1])) for name, row in rows.items()}

    def snapshot_id(self) -> str:
        """The name of what the catalog holds, 20 hex digits: equal exactly where equal records were folded."""
        return str(self.select(statement("fold", "snapshot")).rows[0][0])

    def _reader(self) -> duckdb.DuckDBPyConnection:
        """A connection that can only read, opened at the first question."""
        if self._connection is None and self.path is not None:
            self.fold()
        if self._connection is None and self.path is not None:
            try:
                self._connection = _connect(self.path, read_only=True)
            except duckdb.Error as err:
                logger.warning("the catalog file cannot be read, answering from memory: %s", _one_line(err))
        if self._connection is None:
            self._fold_in_memory()
        assert self._connection is not None
        return self._connection

    def _release(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def rebuild(store: Store) -> FoldResult:
    """Make the catalog file anew from the records: beside the old one, which it then replaces at once.

    That of a remote store is made in this machine's cache and uploaded.

    Raises:
        StoreError: somebody holds the old file, or there is no cache to make it in.
    """
    with Catalog.open(store) as catalog:
        if catalog._folder is not None:
            raise StoreError("there is no cache folder to make the catalog in", store=store.uri)
        assert catalog.path is not None, "not in memory"
        result = _rebuild_file(store, catalog.path)
        if catalog._shared is not None:
            catalog._shared.publish()
    return result


def _rebuild_file(store: Store, path: Path) -> FoldResult:
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f"{FILE_NAME}.rebuilding-{uuid.uuid4().hex[:8]}")
    try:
        _require_free(path)
        with _connect(fresh, read_only=False) as connection:
            result = _fill(connection, store, persisted=True)
        write_ahead_log(path).unlink(missing_ok=True)
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)
        write_ahead_log(fresh).unlink(missing_ok=True)
    return result


def _fill(connection: duckdb.DuckDBPyConnection, store: Store, *, persisted: bool) -> FoldResult:
    migrate(connection)
    n_records, n_rows = fold_into(connection, store, errors=duckdb.Error)
    return FoldResult(n_records=n_records, n_rows=n_rows, persisted=persisted)


def _connect(path: Path, *, read_only: bool) -> duckdb.DuckDBPyConnection:
    """Open the file, waiting a little for somebody who holds it."""
    patience = Retrying(
        retry=retry_if_exception(lambda err: isinstance(err, duckdb.Error) and bool(_LOCKED.search(str(err)))),
        stop=stop_after_delay(LOCK_PATIENCE_S),
        wait=wait_random_exponential(multiplier=0.05, max=0.25),
        reraise=True,
    )
    config = dict(_CLOSED) if read_only else {}
    return patience(duckdb.connect, str(path), read_only=read_only, config=config)


def _require_free(path: Path) -> None:
    """Refuse to replace a file somebody writes to: what they write would be lost. Readers keep what they opened."""
    if not path.exists():
        return
    try:
        _connect(path, read_only=True).close()
    except duckdb.Error as err:
        if _LOCKED.search(str(err)):
            raise StoreError("the catalog file is in use", path=str(path), reason=_one_line(err)) from err


def _is_damage(err: Exception) -> bool:
    broken = (duckdb.SerializationException, duckdb.InternalException, duckdb.FatalException)
    return isinstance(err, broken) or (isinstance(err, duckdb.Error) and bool(_DAMAGED.search(str(err))))


def _reading_statement(sql: str, values: Mapping[str, Any]) -> str:
    """The text of the one statement, which must only read and whose parameters must be the given ones."""
    statements = duckdb.extract_statements(sql)
    if len(statements) != 1:
        raise QueryError("a query is one statement", expected=1, got=len(statements))
    kinds = (duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN)
    if statements[0].type not in kinds:
        raise QueryError("a query only reads", expected="SELECT", got=statements[0].type.name)
    wanted = set(statements[0].named_parameters)
    if missing := sorted(wanted - set(values)):
        raise QueryError("a parameter is missing", expected=missing, got=sorted(values))
    if unknown := sorted(set(values) - wanted):
        raise QueryError("a parameter is unknown", expected=sorted(wanted), got=unknown)
    return str(statements[0].query)


def _one_line(err: Exception) -> str:
    """What DuckDB says, without the drawing of the statement."""
    return " ".join(str(err).partition("\n\nLINE ")[0].split())
