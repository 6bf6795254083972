-- change_keys: one row per comparison and evaluation: its id, by which the materialized tables find new rows
SELECT DISTINCT comparison_id AS id FROM comparison_results
UNION ALL
SELECT evaluation_id FROM evaluations;
