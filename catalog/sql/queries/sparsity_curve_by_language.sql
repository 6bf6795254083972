-- sparsity_curve_by_language: one row per point of a curve: a language's value at one sparsity, dense at sparsity 0.
-- $task VARCHAR = 'facts'
-- $metric VARCHAR = 'accuracy'
-- $split VARCHAR = 'test'
-- $language VARCHAR = NULL
SELECT
    c.language, c.score, c.structure, c.propagation, c.set_kind, c.source_language, c.target_language,
    c.demonstration_label, c.settings, c.sparsity, c.value, c.ci_low, c.ci_high, c.n_variants, c.scoring_rule,
    c.example_limit, q.protocol, c.base_model_id
FROM sparsity_curve AS c
LEFT JOIN protocols AS q ON q.protocol_id = c.protocol_id
WHERE c.task = $task AND c.metric = $metric AND c.split = $split
    AND ($language::VARCHAR IS NULL OR c.language = $language::VARCHAR)
ORDER BY ALL;
