-- english_cost: one row per base model, score, propagation, settings and sparsity: English's mean difference to dense
-- on test.
-- ci_low and ci_high are the means of the variants' own interval ends; worst_difference is the lowest of them all.
-- $task VARCHAR = 'facts'
-- $metric VARCHAR = 'accuracy'
SELECT
    base_model_id, score, structure, propagation, settings, sparsity,
    count(*) AS n_variants,
    avg(difference ORDER BY evaluation_id) AS difference,
    avg(ci_low ORDER BY evaluation_id) AS ci_low,
    avg(ci_high ORDER BY evaluation_id) AS ci_high,
    min(difference) AS worst_difference,
    avg(value ORDER BY evaluation_id) AS value,
    avg(dense_value ORDER BY evaluation_id) AS dense_value
FROM gain_over_dense
WHERE task = $task AND metric = $metric AND split = 'test' AND language = 'en'
GROUP BY ALL
ORDER BY base_model_id, score, structure, propagation, settings NULLS FIRST, sparsity;
