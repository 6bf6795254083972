-- translation_quality: one row per variant, language pair and metric (bleu, chrf, exact_match), with the dense model's
-- value, and the paired difference with its interval and test.
-- topic: values
-- $split VARCHAR = 'test'
SELECT
    m.language AS pair, m.metric, m.label, m.value, m.ci_low, m.ci_high, m.dense_value,
    m.value - m.dense_value AS difference, c.ci_low AS difference_ci_low, c.ci_high AS difference_ci_high,
    c.p_value, c.p_corrected, c.n_family, c.n_gained, c.n_lost, c.detectable_difference, m.n, m.sparsity,
    c.conditional_on_one_draw, m.example_limit, q.protocol, m.variant_id, m.evaluation_id, m.base_model_id
FROM measured AS m
LEFT JOIN internal.against_dense AS c
    ON c.evaluation_id = m.evaluation_id AND c.metric = m.metric AND c.task = 'translation' AND c.split = $split
LEFT JOIN internal.protocols AS q ON q.protocol_id = m.protocol_id
WHERE m.task = 'translation' AND m.split = $split
ORDER BY m.base_model_id, pair, m.metric, m.sparsity, m.label, m.variant_id, m.evaluation_id;
