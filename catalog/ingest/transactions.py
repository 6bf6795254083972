"""Transactions, and the part of a database connection that ingest uses."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol


class Result(Protocol):
    """Result of a statement. Fetch all of it: DuckDB refuses to register a table while a result is unfinished."""

    def fetchall(self) -> list[tuple[Any, ...]]:
        """Return all rows."""


class Connection(Protocol):
    """The part of a DuckDB connection that the catalog needs."""

    def execute(self, query: str, parameters: object = None) -> Result:
        """Run a statement."""

    def register(self, view_name: str, python_object: object) -> object:
        """Make an Arrow table readable under a name."""

    def unregister(self, view_name: str) -> object:
        """Remove a registered name."""


@contextmanager
def transaction(connection: Connection) -> Iterator[None]:
    """Commit all statements of the block, or none if it raises."""
    connection.execute("BEGIN TRANSACTION")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")
