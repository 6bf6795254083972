-- insert_arrow: adds the rows of a registered Arrow table, in which no key stands twice, to a table.
-- Where a row of the table has the same key the greater row stands, so that the order of folding does not matter.
INSERT INTO {table} BY NAME
SELECT {columns} FROM {rows}
ORDER BY {order}
ON CONFLICT ({keys}) DO {action};
