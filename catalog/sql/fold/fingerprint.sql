-- fingerprint: one row: name and number of rows of a table, and a sum over them that does not depend on their order
SELECT '{table}' AS name, count(*) AS n_rows, coalesce(sum(hash(t)::HUGEINT), 0) AS total FROM {relation} AS t;
