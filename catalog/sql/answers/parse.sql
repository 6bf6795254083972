-- parse: one row: the syntax tree of a statement, as JSON
SELECT json_serialize_sql($sql) AS tree;
