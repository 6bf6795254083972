-- view_columns: one row per column of a view
SELECT column_name FROM duckdb_columns()
WHERE database_name = current_database() AND table_name = $view
ORDER BY column_index;
