-- english_cost: one row per base model, score, propagation, settings and sparsity: the mean difference from dense in
-- English on test. ci_low and ci_high are means over the variants' intervals; worst_difference is the lowest
-- difference.
-- $task VARCHAR = 'facts'
-- $metric VARCHAR = 'accuracy'
SELECT
    v.score, v.structure, v.propagation, v.settings, v.sparsity,
    count(*) AS n_variants,
    avg(c.difference ORDER BY c.difference) AS difference,
    avg(c.ci_low ORDER BY c.ci_low) AS ci_low,
    avg(c.ci_high ORDER BY c.ci_high) AS ci_high,
    min(c.difference) AS worst_difference,
    avg(m.value ORDER BY m.value) AS value,
    avg(c.dense_value ORDER BY c.dense_value) AS dense_value, v.base_model_id
FROM comparisons_to_dense AS c
JOIN metrics AS m ON m.evaluation_id = c.evaluation_id AND m.metric = c.metric
JOIN described_variants AS v ON v.variant_id = c.variant_id
WHERE c.task = $task AND c.metric = $metric AND c.split = 'test' AND c.language = 'en'
GROUP BY ALL
ORDER BY v.base_model_id, v.score, v.structure, v.propagation, v.settings NULLS FIRST, v.sparsity;
