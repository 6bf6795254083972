"""Connections to a catalog file: opened with a little patience, closed to everything but questions, errors in words."""

import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_random

from catalog.results import QueryResult
from mlprune.errors import QueryError, StoreError

logger = logging.getLogger(__name__)

LOCK_PATIENCE_S = 1.5
"""How long to wait for somebody who holds the file."""
ASK_AGAIN_S = 0.04
"""How long, at most, between two tries to open it: a writer lets go of it for longer between its transactions."""
LET_OTHERS_S = 0.1
"""How long a writer of several transactions lets go of the file between them."""

READABLE_FROM = "v1.4.0"
"""The oldest DuckDB that reads the files made here, and the oldest that this package runs with: shells, notebooks and
other machines open them too, in whatever version they have."""

_CLOSED = {"enable_external_access": "false", "python_enable_replacements": "false", "lock_configuration": "true"}
"""Settings under which a query reaches no file, no network and no Python variable, and cannot change that."""
_LOCKED = re.compile(r"set lock on file|different configuration")
_DAMAGED = re.compile(
    r"not a valid DuckDB|Corrupt|checksum|not read enough bytes|database file with version|serializ|replaying WAL"
)


def connect(path: Path, *, read_only: bool) -> duckdb.DuckDBPyConnection:
    """Open the file, waiting a little for somebody who holds it; a reader's connection can only answer questions."""
    patience = Retrying(
        retry=retry_if_exception(is_locked),
        stop=stop_after_delay(LOCK_PATIENCE_S),
        wait=wait_random(0, ASK_AGAIN_S),
        reraise=True,
    )
    config = dict(_CLOSED) if read_only else {}
    if not read_only and not path.exists():
        config = {"storage_compatibility_version": READABLE_FROM}
    return patience(duckdb.connect, str(path), read_only=read_only, config=config)


def close_to_questions(connection: duckdb.DuckDBPyConnection) -> None:
    """Let a connection reach nothing outside any more."""
    for name, value in _CLOSED.items():
        connection.execute(f"SET {name} = {value}")


def require_free(path: Path) -> None:
    """Refuse to replace a file somebody writes to: what they write would be lost. Readers keep what they opened.

    Raises:
        StoreError: somebody writes to it.
    """
    if not path.exists():
        return
    try:
        connect(path, read_only=True).close()
    except duckdb.Error as err:
        if is_locked(err):
            raise StoreError("the catalog file is in use", path=str(path), reason=one_line(err)) from err


def answer(
    connection: duckdb.DuckDBPyConnection, sql: str, values: Mapping[str, Any], *, lent: Mapping[str, Any]
) -> QueryResult:
    """Answer one reading statement.

    Args:
        lent: name -> Arrow table that the statement may read besides those of the catalog.
    Raises:
        QueryError: the text is not one reading statement, a parameter is missing or unknown, DuckDB refuses the
            statement, or two columns have one name.
    """
    with _reading(connection, sql, values, lent=lent) as (cursor, text):
        cursor.execute(text, dict(values) or None)
        columns = tuple(column[0] for column in cursor.description or ())
        rows = tuple(cursor.fetchall())
    return QueryResult(columns, rows)


def answer_in_arrow(
    connection: duckdb.DuckDBPyConnection, sql: str, values: Mapping[str, Any], *, lent: Mapping[str, Any]
) -> Any:
    """The same as a `pyarrow.Table`; see `answer` for the errors."""
    with _reading(connection, sql, values, lent=lent) as (cursor, text):
        return cursor.sql(text, params=dict(values) or None).to_arrow_table()


@contextmanager
def _reading(
    connection: duckdb.DuckDBPyConnection, sql: str, values: Mapping[str, Any], *, lent: Mapping[str, Any]
) -> Iterator[tuple[duckdb.DuckDBPyConnection, str]]:
    """A cursor that can only read, and the text of the one statement."""
    try:
        text = _reading_statement(sql, values)
        cursor = connection.cursor()
        for name, table in lent.items():
            cursor.register(name, table)  # known to this cursor alone
        cursor.execute("BEGIN TRANSACTION READ ONLY")
        try:
            yield cursor, text
        finally:
            cursor.close()
    except (duckdb.Error, ValueError, OverflowError) as err:
        raise QueryError("the query cannot be answered", reason=one_line(err)) from err


def _reading_statement(sql: str, values: Mapping[str, Any]) -> str:
    """The text of the one statement, which must only read and whose parameters must be the given ones."""
    statements = duckdb.extract_statements(sql)
    if len(statements) != 1:
        raise QueryError("a query is one statement", expected=1, got=len(statements))
    if statements[0].type == duckdb.StatementType.MULTI:  # it would first look up which columns there are
        raise QueryError("PIVOT names its columns here", expected="PIVOT ... ON column IN (value, ...)", got="no IN")
    kinds = (duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN)
    if statements[0].type not in kinds:
        raise QueryError("a query only reads", expected="SELECT", got=statements[0].type.name)
    wanted = set(statements[0].named_parameters)
    if missing := sorted(wanted - set(values)):
        raise QueryError("a parameter is missing", expected=missing, got=sorted(values))
    if unknown := sorted(set(values) - wanted):
        raise QueryError("a parameter is unknown", expected=sorted(wanted), got=unknown)
    return str(statements[0].query)


def is_locked(err: BaseException) -> bool:
    """Whether somebody else holds the file."""
    return isinstance(err, duckdb.Error) and bool(_LOCKED.search(str(err)))


def is_damage(err: Exception) -> bool:
    """Whether the file cannot be read by anybody."""
    broken = (duckdb.SerializationException, duckdb.InternalException, duckdb.FatalException)
    return isinstance(err, broken) or (isinstance(err, duckdb.Error) and bool(_DAMAGED.search(str(err))))


def one_line(err: Exception) -> str:
    """What DuckDB says, without the drawing of the statement."""
    return " ".join(str(err).partition("\n\nLINE ")[0].split())
