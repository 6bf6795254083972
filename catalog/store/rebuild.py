"""Build a catalog file again from the records."""

from pathlib import Path

import duckdb

from catalog.ingest.fold import FoldResult
from catalog.store.catalog import Catalog
from catalog.store.connections import connect, one_line, require_free
from catalog.store.database_file import put_aside_unless_file, write_ahead_log
from catalog.store.update import update_connection
from mlprune.atomic import remove_left_over, unfinished_path
from mlprune.errors import StoreError
from mlprune.store.store import Store

REBUILDING = "rebuilding"
"""In the name of a catalog file that is being built."""


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
            raise StoreError(message, path=str(catalog.path), reason=one_line(err)) from err
        if catalog.shared is not None:
            catalog.shared.publish()
    return result


def _rebuild_file(store: Store, path: Path) -> FoldResult:
    path.parent.mkdir(parents=True, exist_ok=True)
    put_aside_unless_file(path)
    remove_left_over(path, REBUILDING)
    fresh = unfinished_path(path, REBUILDING)
    try:
        require_free(path)
        with connect(fresh, read_only=False) as connection:
            result = update_connection(connection, store, persisted=True)
        write_ahead_log(path).unlink(missing_ok=True)
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)
        write_ahead_log(fresh).unlink(missing_ok=True)
    return result
