"""The catalog file: folding records into it, and queries. Only this package imports DuckDB."""

from catalog.store.catalog import Catalog, rebuild
from catalog.store.connections import LOCK_TIMEOUT_S, require_expression
from catalog.store.export import Export, export_catalog

__all__ = ["LOCK_TIMEOUT_S", "Catalog", "Export", "export_catalog", "rebuild", "require_expression"]
