-- english_cost: what pruning costs in English. One row per method, sparsity, scoring rule and evaluation setup: the
-- difference from dense in English on test. Variants of a row differ in nothing but seeds, and estimate says what
-- ci_low and ci_high are for: one draw of demonstrations, or other seeds too. A mean without test has no interval. With
-- no loss found, English can still lose up to -ci_low.
-- topic: english
-- first: score, demonstration_label, sparsity, difference, p_corrected, dense_value
-- $task VARCHAR = 'facts'
-- $metric VARCHAR = 'accuracy'
-- $sparsity DOUBLE = NULL
SELECT
    d.score, d.structure, d.propagation, d.set_kind, d.demonstration_label, d.settings, d.sparsity,
    d.difference, d.ci_low, d.ci_high, d.p_value, d.p_corrected, d.n_gained, d.n_lost, d.n_items, d.n_clusters,
    d.value, d.dense_value, d.smallest_significant, d.detectable_difference, d.n_family,
    d.n_variants, d.estimate, d.shots, d.samples, d.scale, d.scoring_rule, d.example_limit, q.protocol,
    d.method_id, d.base_model_id
FROM internal.method_differences AS d
LEFT JOIN internal.protocols AS q ON q.protocol_id = d.protocol_id
WHERE d.task = $task AND d.metric = $metric AND d.split = 'test' AND d.group_kind = 'language' AND d.group_name = 'en'
    AND ($sparsity::DOUBLE IS NULL OR d.sparsity = $sparsity::DOUBLE)
ORDER BY
    d.base_model_id, d.score, d.structure, d.propagation, d.set_kind DESC, d.demonstration_label, d.settings NULLS FIRST,
    d.shots, d.samples, d.scoring_rule, q.protocol NULLS FIRST, d.example_limit, d.sparsity, d.variant_ids;
