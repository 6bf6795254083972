-- insert_arrow: inserts the rows of a registered Arrow table, in which every key occurs once. If the table already has
-- a row with the same key, the greater row is kept, so that the order of folding does not matter.
INSERT INTO {table} BY NAME
SELECT {columns} FROM {rows}
ORDER BY {order}
ON CONFLICT ({keys}) DO {action};
