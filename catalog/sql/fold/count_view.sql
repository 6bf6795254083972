-- count_view: one row: number of rows of a view; every column of every row is computed
SELECT count(*) AS n_rows, sum(hash(v)::HUGEINT) AS total FROM {view} AS v;
