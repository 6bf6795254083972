-- dangling_keys: one row per value of a key that is in no row of the table it points to
SELECT DISTINCT c.{column} AS key
FROM {table} AS c
WHERE c.{column} IS NOT NULL
    AND NOT EXISTS (SELECT 1 FROM {parent} AS p WHERE p.{parent_column} = c.{column})
ORDER BY key;
