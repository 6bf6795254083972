"""Making a catalog file anew from the records, beside the old one."""

from pathlib import Path

from catalog.ingest.fold import FoldResult
from catalog.store.catalog import Catalog
from catalog.store.connections import connect, require_free
from catalog.store.database_file import write_ahead_log
from catalog.store.update import update_connection
from mlprune.atomic import replacing
from mlprune.errors import StoreError
from mlprune.store.store import Store


def rebuild(store: Store) -> FoldResult:
    """Make the catalog file anew from the records: beside the old one, which it then replaces at once.

    That of a remote store is made in this machine's cache and uploaded.

    Raises:
        StoreError: somebody holds the old file, or there is no cache to make it in.
    """
    with Catalog.open(store) as catalog:
        if catalog.is_temporary:
            raise StoreError("there is no cache folder to make the catalog in", store=store.uri)
        assert catalog.path is not None, "not in memory"
        result = _rebuild_file(store, catalog.path)
        if catalog.shared is not None:
            catalog.shared.publish()
    return result


def _rebuild_file(store: Store, path: Path) -> FoldResult:
    with replacing(path) as fresh:
        try:
            require_free(path)
            with connect(fresh, read_only=False) as connection:
                result = update_connection(connection, store, persisted=True)
        finally:
            write_ahead_log(fresh).unlink(missing_ok=True)
        write_ahead_log(path).unlink(missing_ok=True)
    return result
