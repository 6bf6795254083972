"""Connections to a catalog file: retries, limits of a query, and DuckDB errors on one line."""

import logging
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import duckdb
import pyarrow as pa
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_random

from catalog.results import QueryResult, Value
from catalog.sql_files import statement
from catalog.store.item_answers import TABLE
from mlprune.errors import QueryError, StoreError

logger = logging.getLogger(__name__)
LIMITED_SETTINGS: Mapping[str, str] = {
    "memory_limit": "1GB",
    "max_temp_directory_size": "2GB",
    "threads": "2",
}
"""DuckDB's settings of a connection that shares a machine with a run."""
Answer = TypeVar("Answer")
LOCK_TIMEOUT_S = 1.5
"""Time to wait for another process that has the file open."""
MAX_RETRY_INTERVAL_S = 0.04
"""Maximum time between two attempts to open the file: shorter than a writer's pause between its transactions."""
WRITE_PAUSE_S = 0.1
"""Time for which a writer keeps the file closed between two transactions."""
INTERRUPT_INTERVAL_S = 0.02
"""Time between two attempts to interrupt a statement: an attempt before the statement starts has no effect."""
SIGNAL_INTERVAL_S = 0.1
"""Time between two looks for signals while a statement runs. A library may have asked the system to restart what a
signal interrupts, as polars does when it is imported: then a wait without an end would go on."""
READABLE_FROM = "v1.4.0"
"""Oldest DuckDB version that can read the files, at most the oldest one that this package runs with. Shells, notebooks
and other machines open the files too, with the versions that they have."""
LIST_COLUMNS = (
    "mlprune query --topics names the built-in queries; SELECT table_name, column_name FROM duckdb_columns() WHERE NOT "
    "internal lists all tables and columns, which docs/reference/catalog.md describes"
)
"""What to do about an unknown table or column."""
_READ_ONLY = {"enable_external_access": "false", "python_enable_replacements": "false", "lock_configuration": "true"}
"""Settings that deny a query access to files, the network and Python variables. A query cannot change them."""
_LOCKED = re.compile(r"set lock on file|different configuration")
_DAMAGED = re.compile(
    r"not a valid DuckDB|Corrupt|checksum|not read enough bytes|database file with version|serializ|replaying WAL"
)


class QueryLimitError(QueryError):
    """A query took too long, or its result is too large."""


@dataclass(frozen=True)
class QueryLimits:
    """Limits of one query."""

    seconds: float
    n_rows: int
    """Maximum number of rows of the result."""
    may_cut: bool = False
    """Whether a longer result is cut; otherwise it is refused."""

    def check_rows(self, n_rows: int) -> None:
        """Refuse a result with too many rows, unless it may be cut.

        Raises:
            QueryLimitError: it has more rows than `n_rows`.
        """
        if n_rows > self.n_rows and not self.may_cut:
            raise QueryLimitError("the result has too many rows", expected=f"at most {self.n_rows:,}", next="add LIMIT")


@contextmanager
def interrupt_after(cursor: duckdb.DuckDBPyConnection, seconds: float) -> Iterator[None]:
    """Interrupt the statements of a cursor that are still running after some seconds.

    It interrupts again and again: DuckDB forgets an interrupt that comes just before a statement begins.

    Raises:
        QueryLimitError: a statement was interrupted.
    """
    has_ended = threading.Event()

    def interrupt() -> None:
        pause = seconds
        while not has_ended.wait(pause):
            cursor.interrupt()
            pause = INTERRUPT_INTERVAL_S

    watch = threading.Thread(target=interrupt, daemon=True)
    watch.start()
    try:
        yield
    except duckdb.InterruptException as err:
        raise QueryLimitError("the query took too long", expected=f"at most {seconds:g} s") from err
    finally:
        has_ended.set()
        watch.join()


def connect(path: Path, *, read_only: bool, settings: Mapping[str, str] | None = None) -> duckdb.DuckDBPyConnection:
    """Open the file, and wait up to `LOCK_TIMEOUT_S` while another process has it open.

    Args:
        read_only: return a connection that can only read.
        settings: further settings of a connection that can only read.
    Raises:
        duckdb.Error: the file is still locked, or cannot be read.
    """
    retrying = Retrying(
        retry=retry_if_exception(is_locked),
        stop=stop_after_delay(LOCK_TIMEOUT_S),
        wait=wait_random(0, MAX_RETRY_INTERVAL_S),
        reraise=True,
    )
    config = {**_READ_ONLY, **(settings or {})} if read_only else {}
    if not read_only and not path.exists():
        config = {"storage_compatibility_version": READABLE_FROM}
    return retrying(duckdb.connect, str(path), read_only=read_only, config=config)


def make_read_only(connection: duckdb.DuckDBPyConnection) -> None:
    """Deny a connection access to files, the network and Python variables."""
    for name, value in _READ_ONLY.items():
        connection.execute(f"SET {name} = {value}")


def interruptible(connection: duckdb.DuckDBPyConnection, function: Callable[[], Answer]) -> Answer:
    """Call a function that waits for a connection, so that a signal ends its statement at once.

    While DuckDB runs a statement it may ignore signals, or turn them into an error of its own. Signals arrive in the
    main thread; there the function runs in another thread, and any exception that a signal raises interrupts it.

    Args:
        connection: the connection or cursor that the function uses.
    """
    if threading.current_thread() is not threading.main_thread():
        return function()
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(function)
        try:
            while not answer.done():
                wait([answer], SIGNAL_INTERVAL_S)
            return answer.result()
        finally:
            while not answer.done():
                connection.interrupt()
                wait([answer], INTERRUPT_INTERVAL_S)


class InterruptibleConnection:
    """A connection for ingest, whose statements a signal ends at once."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection

    def execute(self, query: str, parameters: object = None) -> "InterruptibleConnection":
        """Run a statement; `fetchall` returns its rows."""
        interruptible(self._connection, lambda: self._connection.execute(query, parameters))
        return self

    def fetchall(self) -> list[tuple[Any, ...]]:
        """Return all rows of the last statement."""
        return interruptible(self._connection, self._connection.fetchall)

    def register(self, view_name: str, python_object: object) -> object:
        """Make an Arrow table readable under a name."""
        return self._connection.register(view_name, python_object)

    def unregister(self, view_name: str) -> object:
        """Remove a registered name."""
        return self._connection.unregister(view_name)


def require_free(path: Path) -> None:
    """Check that no other process writes to a file that is about to be replaced: its changes would be lost.

    Other processes may read the file; they keep the old version.

    Raises:
        StoreError: another process writes to the file.
    """
    if not path.exists():
        return
    try:
        connect(path, read_only=True).close()
    except duckdb.Error as err:
        if is_locked(err):
            raise StoreError("the catalog file is in use", path=str(path), reason=one_line(err)) from err


def run_query(
    connection: duckdb.DuckDBPyConnection,
    sql: str,
    values: Mapping[str, Value],
    *,
    tables: Mapping[str, pa.Table],
    limits: QueryLimits | None = None,
) -> QueryResult:
    """Run one statement that only reads.

    Args:
        values: parameter -> value.
        tables: name -> further Arrow table that the statement may read.
        limits: of time and rows; a result that was cut has one row more than the limit.
    Raises:
        QueryLimitError: a limit is exceeded.
        QueryError: the text is not one reading statement, a parameter is missing or unknown, DuckDB refuses the
            statement, or two columns have the same name.
    """
    with _reading(connection, sql, values, tables=tables) as (cursor, text):
        if limits is None:
            return interruptible(cursor, lambda: _fetch(cursor.execute(text, dict(values) or None)))
        most = limits.n_rows + 1
        with interrupt_after(cursor, limits.seconds):
            result = interruptible(cursor, lambda: _fetch(cursor.execute(text, dict(values) or None), most=most))
    limits.check_rows(len(result.rows))
    return result


def _fetch(cursor: duckdb.DuckDBPyConnection, *, most: int | None = None) -> QueryResult:
    """Return the first rows of the statement that a cursor has run, or all."""
    columns = tuple(column[0] for column in cursor.description or ())
    return QueryResult(columns, tuple(cursor.fetchall() if most is None else cursor.fetchmany(most)))


def run_query_in_arrow(
    connection: duckdb.DuckDBPyConnection,
    sql: str,
    values: Mapping[str, Value],
    *,
    tables: Mapping[str, pa.Table],
    limits: QueryLimits | None = None,
) -> pa.Table:
    """Run one statement that only reads and return an Arrow table; see `run_query` for arguments and errors."""
    with _reading(connection, sql, values, tables=tables) as (cursor, text):
        if limits is None:
            return interruptible(cursor, lambda: cursor.sql(text, params=dict(values) or None).to_arrow_table())
        most = limits.n_rows + 1
        with interrupt_after(cursor, limits.seconds):
            result = interruptible(
                cursor, lambda: cursor.sql(text, params=dict(values) or None).limit(most).to_arrow_table()
            )
    limits.check_rows(result.num_rows)
    return result


@contextmanager
def _reading(
    connection: duckdb.DuckDBPyConnection,
    sql: str,
    values: Mapping[str, Value],
    *,
    tables: Mapping[str, pa.Table],
) -> Iterator[tuple[duckdb.DuckDBPyConnection, str]]:
    """Yield a cursor in a read-only transaction, and the checked text of the statement."""
    try:
        text = _reading_statement(sql, values)
        cursor = connection.cursor()
        for name, table in tables.items():
            cursor.register(name, table)  # only this cursor can read it
        if TABLE in tables:
            cursor.execute(statement("answers", "item_answers"))
        cursor.execute("BEGIN TRANSACTION READ ONLY")
        try:
            yield cursor, text
        finally:
            cursor.close()
    except (duckdb.CatalogException, duckdb.BinderException) as err:
        raise QueryError("the query cannot be answered", reason=one_line(err), next=LIST_COLUMNS) from err
    except (duckdb.Error, ValueError, OverflowError) as err:
        raise QueryError("the query cannot be answered", reason=one_line(err)) from err


def _reading_statement(sql: str, values: Mapping[str, Value]) -> str:
    """Return the text of the statement, after checking that it only reads and that the parameters match."""
    statements = duckdb.extract_statements(sql)
    if len(statements) != 1:
        raise QueryError("a query has to be one statement", expected=1, got=len(statements))
    if statements[0].type == duckdb.StatementType.MULTI:  # DuckDB would first run another statement to find the columns
        raise QueryError(
            "PIVOT needs the names of its columns", expected="PIVOT ... ON column IN (value, ...)", got="no IN"
        )
    kinds = (duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN)
    if statements[0].type not in kinds:
        raise QueryError("a query can only read", expected="SELECT", got=statements[0].type.name)
    parameters = set(statements[0].named_parameters)
    if missing := sorted(parameters - set(values)):
        raise QueryError("a parameter is missing", expected=missing, got=sorted(values))
    if unknown := sorted(set(values) - parameters):
        raise QueryError("a parameter is unknown", expected=sorted(parameters), got=unknown)
    return str(statements[0].query)


def require_expression(text: str) -> None:
    """Check that a text is one SQL expression, such as `sparsity > 0.3`, so that it can be a part of a statement.

    Raises:
        QueryError: it is not.
    """
    try:
        duckdb.SQLExpression(text)
    except duckdb.Error as err:
        raise QueryError(
            "a condition is not one SQL expression", expected="such as sparsity > 0.3", got=text, reason=one_line(err)
        ) from err


def is_locked(err: BaseException) -> bool:
    """Whether another process has the file open."""
    return isinstance(err, duckdb.Error) and bool(_LOCKED.search(str(err)))


def is_damage(err: Exception) -> bool:
    """Whether the file is damaged."""
    broken = (duckdb.SerializationException, duckdb.InternalException, duckdb.FatalException)
    return isinstance(err, broken) or (isinstance(err, duckdb.Error) and bool(_DAMAGED.search(str(err))))


def problem_of_file(err: Exception) -> str:
    """Return why a catalog file has to be built again, for a message; empty if that would not help."""
    if is_damage(err):
        return "is damaged"
    other_layout = (duckdb.CatalogException, duckdb.BinderException, duckdb.DependencyException)
    return f"has another layout than this version's ({one_line(err)})" if isinstance(err, other_layout) else ""


def one_line(err: Exception) -> str:
    """Return DuckDB's message without the excerpt of the statement."""
    return " ".join(str(err).partition("\n\nLINE ")[0].split())
