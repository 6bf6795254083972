-- change_keys: one row per comparison, evaluation, question and variant: its id, by which the materialized tables find new
-- rows
SELECT DISTINCT comparison_id AS id FROM comparison_results
UNION
SELECT comparison_id FROM aggregate_results
UNION ALL
SELECT evaluation_id FROM evaluations
UNION ALL
(SELECT question_id FROM questions UNION SELECT question_id FROM answer_results)
UNION ALL
SELECT variant_id FROM variants;
