-- lineage_of_metric: one row per metric of an evaluation: everything it was made from, down to the predictions' file.
-- $evaluation_id VARCHAR
SELECT * FROM lineage WHERE evaluation_id = $evaluation_id ORDER BY metric;
