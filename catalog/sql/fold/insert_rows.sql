-- insert_rows: adds rows, given as one JSON array, to a table.
-- Where two records give the same key the greater row stands, so that the order of folding does not matter.
INSERT INTO {table} BY NAME
SELECT * FROM (SELECT unnest(from_json_strict($rows, '{structure}'), recursive := true))
QUALIFY row_number() OVER (PARTITION BY {keys} ORDER BY {greatest_first}) = 1
ON CONFLICT ({keys}) DO {action};
