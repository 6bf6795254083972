-- count_view: one row: how many rows a view has, with every column of every row computed
SELECT count(*) AS n_rows, sum(hash(v)::HUGEINT) AS total FROM {view} AS v;
