"""The catalog: a DuckDB index of all records, views and named queries for researchers, and the report."""
