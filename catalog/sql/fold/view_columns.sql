-- view_columns: one row per column of a view
SELECT c.table_name, c.column_name FROM duckdb_columns() AS c
JOIN duckdb_views() AS v ON v.view_oid = c.table_oid AND v.database_oid = c.database_oid
WHERE c.database_name = current_database() AND NOT v.internal
ORDER BY c.table_name, c.column_index;
