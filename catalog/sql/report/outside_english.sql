-- outside_english: one row per method and sparsity: mean test accuracy over the languages other than English and the
-- variants of the method, with the dense model's mean over the same languages. This is a description, not a test.
SELECT
    b.source AS base_model, m.base_model_id, m.task,
    concat_ws(', ', m.scoring_rule, q.protocol) AS scoring_rule, m.example_limit,
    coalesce(v.score, v.combination) AS score, v.set_kind, v.propagation, v.structure, v.settings, v.sparsity,
    count(DISTINCT m.variant_id) AS n_variants,
    count(DISTINCT m.language) AS n_languages,
    avg(m.value ORDER BY m.evaluation_id) AS accuracy,
    avg(m.dense_value ORDER BY m.evaluation_id) AS dense_accuracy,
    avg(m.value - m.dense_value ORDER BY m.evaluation_id) AS difference
FROM measured AS m
JOIN described_variants AS v ON v.variant_id = m.variant_id
JOIN base_models AS b ON b.base_model_id = m.base_model_id
LEFT JOIN protocols AS q ON q.protocol_id = m.protocol_id
WHERE m.metric = 'accuracy' AND m.value IS NOT NULL AND m.split = 'test' AND m.language <> 'en'
    AND v.intervention IS NULL
GROUP BY ALL
ORDER BY
    base_model, m.base_model_id, m.task, scoring_rule, m.example_limit,
    v.sparsity, score DESC NULLS FIRST, v.set_kind DESC, v.propagation DESC, v.structure,
    v.settings NULLS FIRST;
