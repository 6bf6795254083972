-- number_columns: one row per table or view with a name of $names, and its columns of numbers that are not integers, in
-- order.
SELECT table_name AS name, list(column_name ORDER BY column_index) AS columns
FROM duckdb_columns()
WHERE NOT internal AND list_contains($names::VARCHAR[], table_name)
    AND (data_type IN ('DOUBLE', 'FLOAT') OR starts_with(data_type, 'DECIMAL'))
GROUP BY table_name
ORDER BY table_name;
