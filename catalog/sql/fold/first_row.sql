-- first_row: finds out whether a table has rows
SELECT 1 FROM {table} LIMIT 1;
