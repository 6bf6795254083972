-- dangling_keys: one row per value of a foreign key that the parent table does not have
SELECT DISTINCT c.{column} AS key
FROM {table} AS c
WHERE c.{column} IS NOT NULL
    AND NOT EXISTS (SELECT 1 FROM {parent} AS p WHERE p.{parent_column} = c.{column})
ORDER BY key;
