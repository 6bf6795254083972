"""The catalog: a DuckDB index over the records, the views and queries researchers ask, and the report."""
