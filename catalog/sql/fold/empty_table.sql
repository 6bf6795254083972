-- empty_table: removes all rows of a table
DELETE FROM {table};
