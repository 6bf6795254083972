-- change_keys: one row per comparison and evaluation: the ids by which materialized tables find new rows
SELECT DISTINCT comparison_id AS id FROM comparisons
UNION ALL
SELECT evaluation_id FROM evaluations;
