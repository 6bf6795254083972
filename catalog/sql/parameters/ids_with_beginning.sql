-- ids_with_beginning: one row per id in a column of a table that begins with $beginning.
SELECT DISTINCT {column} AS id
FROM {table}
WHERE starts_with({column}, $beginning)
ORDER BY id;
