-- column_meanings: one row per column name of the tables, with its meaning. If several tables have the column, the
-- first table of this list that has it determines the meaning.
SELECT c.column_name, arg_min(c.comment, coalesce(list_position(
    ['variant_descriptions', 'metrics', 'comparisons', 'evaluations', 'variants', 'demonstration_sets', 'records'],
    c.table_name
), 99))
FROM duckdb_columns() AS c
JOIN duckdb_tables() AS t ON t.table_oid = c.table_oid AND t.database_oid = c.database_oid
WHERE c.database_name = current_database() AND c.comment IS NOT NULL
GROUP BY c.column_name;
