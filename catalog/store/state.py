"""State of the catalog file of a store, without changing it."""

from dataclasses import dataclass

import duckdb

from catalog.store.connections import one_line
from catalog.store.database_file import FILE_NAME
from catalog.store.update import pending_of_file
from mlprune.store.store import Store


@dataclass(frozen=True)
class CatalogState:
    """The catalog file of a local store."""

    exists: bool
    n_missing: int | None = None
    """Records that it lacks; None if its schema is of another version, or it cannot be read."""
    has_removed: bool = False
    """Whether it has records that are no longer in the store. Then `n_missing` is the number of all records."""
    problem: str = ""
    """Why it cannot be read, such as another process that has it open."""


def catalog_state(store: Store) -> CatalogState | None:
    """Examine the catalog file; None for an object store, whose catalog is in the cache of each machine."""
    if store.local_root is None:
        return None
    path = store.local_root / FILE_NAME
    if not path.exists():
        return CatalogState(exists=False)
    try:
        todo = pending_of_file(path, store)
        if todo is None:
            return CatalogState(exists=True)
        return CatalogState(exists=True, n_missing=todo.n_records, has_removed=todo.has_removed_records)
    except (duckdb.Error, OSError) as err:
        return CatalogState(exists=True, problem=one_line(err))
