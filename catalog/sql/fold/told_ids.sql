-- told_ids: one row per comparison and evaluation, by the ids with which kept tables are told of new rows
SELECT DISTINCT comparison_id AS id FROM comparisons
UNION ALL
SELECT evaluation_id FROM evaluations;
