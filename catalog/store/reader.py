"""The read-only connection for queries: to the catalog file, to a copy of it, or to a catalog in memory."""

import logging
import tempfile
from collections.abc import Mapping
from pathlib import Path

import duckdb

from catalog.ingest.fold import FoldResult
from catalog.store.connections import connect, make_read_only, one_line
from catalog.store.update import update_connection, update_copy
from mlprune.store.scratch import scratch_folder
from mlprune.store.store import Store

logger = logging.getLogger(__name__)


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
            self.connection = connect(path, read_only=True, settings=self._settings)
        except duckdb.Error as err:
            logger.warning("the catalog file cannot be read: %s", one_line(err))
        self._reads_file = self.connection is not None
        return self._reads_file

    def open_copy(self, path: Path) -> bool:
        """Open a copy of a file that is not available, which is much faster than reading all records again.

        Returns: whether that was possible.
        """
        self._copy = scratch_folder()
        self.connection = update_copy(path, Path(self._copy.name), self._store)
        source = "memory" if self.connection is None else "a copy of it"
        logger.warning("the catalog file is not available, answering from %s", source)
        return self.connection is not None

    def open_in_memory(self) -> FoldResult:
        """Fold all records into a catalog in memory."""
        connection = duckdb.connect(":memory:")
        result = update_connection(connection, self._store, persisted=False)
        make_read_only(connection)
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
