-- columns: one row per column of a table or view, in the order in which tables and views were created, with the COMMENT
-- ON texts of both and the column's position in the primary key (NULL if it is not part of it). Relations of other schemas
-- than main are named with their schema.
WITH relations AS (
    SELECT table_oid AS oid, schema_name, table_name AS name, 'table' AS kind, comment FROM duckdb_tables()
    UNION ALL
    SELECT view_oid, schema_name, view_name, 'view', comment FROM duckdb_views() WHERE NOT internal
),
keys AS (
    SELECT table_oid, constraint_column_names AS names FROM duckdb_constraints() WHERE constraint_type = 'PRIMARY KEY'
)
SELECT
    r.kind, concat_ws('.', nullif(r.schema_name, 'main'), r.name) AS relation, r.comment AS relation_comment,
    c.column_name, c.data_type, c.comment AS column_comment,
    nullif(list_position(k.names, c.column_name), 0) AS key_place
FROM relations AS r
JOIN duckdb_columns() AS c ON c.table_oid = r.oid
LEFT JOIN keys AS k ON k.table_oid = r.oid
ORDER BY r.kind, r.oid, c.column_index;
