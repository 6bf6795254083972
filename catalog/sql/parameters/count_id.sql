-- count_id: one row: the number of ids in a column of a table, and whether $id is one of them.
SELECT count(DISTINCT {column}) AS n_ids, coalesce(bool_or({column} = $id), false) AS is_known
FROM {table};
