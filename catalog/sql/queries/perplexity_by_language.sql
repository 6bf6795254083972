-- perplexity_by_language: one row per variant and language: perplexity on held-out text, and its ratio to dense with the
-- 95 % interval and the test of the paired log-likelihoods. Below 1, the variant predicts the text better.
-- topic: values
-- $split VARCHAR = 'test'
SELECT
    m.language, m.label, m.sparsity, m.value AS perplexity, m.ci_low, m.ci_high, m.dense_value AS dense_perplexity,
    m.value / nullif(m.dense_value, 0) AS ratio, exp(c.ci_low) AS ratio_ci_low, exp(c.ci_high) AS ratio_ci_high,
    c.p_value, c.p_corrected, c.n_family, exp(c.detectable_difference) AS detectable_ratio, m.n, c.n_clusters,
    c.conditional_on_one_draw, m.example_limit, q.protocol, m.variant_id, m.evaluation_id, m.base_model_id
FROM measured AS m
LEFT JOIN internal.against_dense AS c
    ON c.evaluation_id = m.evaluation_id AND c.metric = m.metric AND c.scale = 'log_ratio'
LEFT JOIN internal.protocols AS q ON q.protocol_id = m.protocol_id
WHERE m.task = 'perplexity' AND m.metric = 'perplexity' AND m.split = $split
ORDER BY m.base_model_id, m.language, m.sparsity, m.label, m.variant_id, m.evaluation_id;
