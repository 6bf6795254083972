-- tables: one row per column of a table, in order, and the place it has in the table's primary key (0: none)
SELECT c.table_name, c.column_name, c.data_type, list_position(k.constraint_column_names, c.column_name) AS key_place
FROM duckdb_columns() AS c
JOIN duckdb_tables() AS t ON t.table_oid = c.table_oid AND t.database_oid = c.database_oid
LEFT JOIN duckdb_constraints() AS k
    ON k.table_oid = t.table_oid AND k.database_oid = t.database_oid AND k.constraint_type = 'PRIMARY KEY'
WHERE c.database_name = current_database() AND c.schema_name = 'main' AND NOT c.internal
ORDER BY c.table_name, c.column_index;
