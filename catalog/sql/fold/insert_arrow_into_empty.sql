-- insert_arrow_into_empty: inserts the rows of a registered Arrow table, in which every key occurs once, into an empty
-- table. Without the search for conflicts, a small insert takes a third of the time.
INSERT INTO {table} BY NAME
SELECT {columns} FROM {rows}
ORDER BY {order};
