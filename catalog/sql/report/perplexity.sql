-- perplexity.sql: one row per variant and split with its perplexity and the change to the dense model, per language
-- (lower is better); the dense model first.
SELECT b.source AS base_model, m.language, m.split, v.score, d.kind AS demonstrations, d.source_language,
       d.target_language, v.propagation, v.structure, v.intervention, v.sparsity, v.variant_id,
       m.value AS perplexity, m.ci_low, m.ci_high, m.n,
       c.difference AS change_to_dense
FROM metrics AS m
JOIN variants AS v ON v.variant_id = m.variant_id
JOIN base_models AS b ON b.base_model_id = v.base_model_id
LEFT JOIN demonstration_sets AS d ON d.demonstration_set_id = v.demonstration_set_id
LEFT JOIN (
    SELECT evaluation_id, metric, any_value(difference ORDER BY comparison_id) AS difference
    FROM comparisons
    WHERE baseline_id IN (SELECT variant_id FROM variants WHERE sparsity = 0 AND intervention IS NULL)
    GROUP BY evaluation_id, metric
) AS c ON c.evaluation_id = m.evaluation_id AND c.metric = m.metric
WHERE m.metric = 'perplexity'
ORDER BY base_model, m.language, m.split, v.sparsity, v.score NULLS FIRST, demonstrations, d.source_language,
         d.target_language, v.variant_id, m.evaluation_id;
