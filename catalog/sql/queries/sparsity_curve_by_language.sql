-- sparsity_curve_by_language: one row per point of a curve: a language's value at one sparsity, dense at sparsity 0, and
-- its difference from dense with the interval of english_cost. Points over several seeds have no interval of the value.
-- topic: values
-- first: language, score, demonstration_label, sparsity, value, p_corrected, difference
-- $task VARCHAR = 'facts'
-- $metric VARCHAR = 'accuracy'
-- $split VARCHAR = 'test'
-- $language VARCHAR = NULL
SELECT
    c.language, c.score, c.structure, c.propagation, c.set_kind, c.source_language, c.target_language,
    c.demonstration_label, c.settings, c.shots, c.samples, c.sparsity, c.value, c.ci_low, c.ci_high,
    d.difference, d.ci_low AS difference_ci_low, d.ci_high AS difference_ci_high, d.p_value, d.p_corrected, d.n_family,
    c.n, c.n_variants, d.estimate,
    c.scoring_rule, c.example_limit, q.protocol, c.base_model_id
FROM internal.sparsity_curve AS c
LEFT JOIN internal.method_differences AS d
    ON d.base_model_id = c.base_model_id AND d.method = c.method AND d.sparsity = c.sparsity
    AND d.task = c.task AND d.metric = c.metric AND d.split = c.split AND d.group_name = c.language
    AND d.group_kind = 'language' AND d.sets_made_of IS NOT DISTINCT FROM c.sets_made_of
    AND d.scoring_rule IS NOT DISTINCT FROM c.scoring_rule AND d.example_limit IS NOT DISTINCT FROM c.example_limit
    AND d.protocol_id = c.protocol_id
LEFT JOIN internal.protocols AS q ON q.protocol_id = c.protocol_id
WHERE c.task = $task AND c.metric = $metric AND c.split = $split
    AND ($language::VARCHAR IS NULL OR c.language = $language::VARCHAR)
ORDER BY ALL;
