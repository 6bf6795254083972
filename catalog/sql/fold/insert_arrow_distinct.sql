-- insert_arrow_distinct: inserts the rows of a registered Arrow table, in which keys may occur several times. Of the
-- rows with the same key the greatest one is kept, so that the order of folding does not matter.
INSERT INTO {table} BY NAME
SELECT {columns} FROM {rows}
QUALIFY row_number() OVER (PARTITION BY {keys} ORDER BY {greatest_first}) = 1
ORDER BY {order}
ON CONFLICT ({keys}) DO {action};
