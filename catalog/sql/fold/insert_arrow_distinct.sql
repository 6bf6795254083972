-- insert_arrow_distinct: adds the rows of a registered Arrow table to a table.
-- Where two rows have the same key the greater row stands, so that the order of folding does not matter.
INSERT INTO {table} BY NAME
SELECT {columns} FROM {rows}
QUALIFY row_number() OVER (PARTITION BY {keys} ORDER BY {greatest_first}) = 1
ORDER BY {order}
ON CONFLICT ({keys}) DO {action};
