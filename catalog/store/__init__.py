"""The catalog file, and the only owner of DuckDB: folding records into it and asking it questions."""

from catalog.store.catalog import Catalog
from catalog.store.connections import LOCK_PATIENCE_S
from catalog.store.export import Export, export_catalog
from catalog.store.rebuild import rebuild

__all__ = ["LOCK_PATIENCE_S", "Catalog", "Export", "export_catalog", "rebuild"]
