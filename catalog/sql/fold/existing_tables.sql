-- existing_tables: one row per table of the catalog file, with the schema in its name if it is not main
SELECT CASE schema_name WHEN 'main' THEN table_name ELSE concat(schema_name, '.', table_name) END FROM duckdb_tables()
WHERE database_name = current_database() AND NOT internal;
