"""Limits of a query that a person types: its time, its rows, and the memory of the connection."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import duckdb

from mlprune.errors import QueryError

LIMITED_SETTINGS: Mapping[str, str] = {
    "memory_limit": "1GB",
    "max_temp_directory_size": "2GB",
    "threads": "2",
}
"""DuckDB's settings of a connection that shares a machine with a run."""


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

    Raises:
        QueryLimitError: a statement was interrupted.
    """
    timer = threading.Timer(seconds, cursor.interrupt)
    timer.daemon = True
    timer.start()
    try:
        yield
    except duckdb.InterruptException as err:
        raise QueryLimitError("the query took too long", expected=f"at most {seconds:g} s") from err
    finally:
        timer.cancel()
