-- variants_compared: one row per language and pair of variants of one model that a recipe compares (key against): the
-- paired difference with its 95 % interval and its test, corrected over the family of the comparison. For perplexity,
-- ratio is the variant's value divided by the baseline's, with its interval: below 1 the variant is better. The dense model
-- and other baselines are left out: see significant_changes and compared_with_baselines.
-- topic: answers
-- first: language, label, baseline_label, difference, p_corrected
-- $task VARCHAR = 'facts'
-- $metric VARCHAR = 'accuracy'
-- $split VARCHAR = 'test'
-- $language VARCHAR = NULL
SELECT
    c.language, v.sparsity, ours.structure, v.label, b.label AS baseline_label, c.difference, c.ci_low, c.ci_high,
    CASE c.scale WHEN 'log_ratio' THEN exp(c.difference) END AS ratio,
    CASE c.scale WHEN 'log_ratio' THEN exp(c.ci_low) END AS ratio_ci_low,
    CASE c.scale WHEN 'log_ratio' THEN exp(c.ci_high) END AS ratio_ci_high,
    c.p_value, c.p_corrected, c.n_family, c.detectable_difference, c.n, c.n_clusters, c.scale, c.conditional_on_one_draw,
    c.scoring_rule, c.example_limit, q.protocol, c.variant_id, c.baseline_id, c.evaluation_id, c.baseline_evaluation_id,
    v.base_model_id
FROM internal.comparisons AS c
ANTI JOIN internal.outdone_evaluations AS o ON o.evaluation_id = c.evaluation_id
JOIN described_variants AS v ON v.variant_id = c.variant_id
JOIN described_variants AS b ON b.variant_id = c.baseline_id AND b.base_model_id = v.base_model_id
JOIN variants AS ours ON ours.variant_id = c.variant_id
LEFT JOIN internal.protocols AS q ON q.protocol_id = c.protocol_id
WHERE
    c.profile = 'corrected' AND c.task = $task AND c.metric = $metric AND c.split = $split
    AND NOT b.is_dense AND v.intervention IS NULL AND b.intervention IS NULL
    AND ($language::VARCHAR IS NULL OR c.language = $language::VARCHAR)
ORDER BY
    v.base_model_id, c.language, v.sparsity, ours.structure NULLS FIRST, v.label, baseline_label, c.variant_id,
    c.baseline_id, c.scoring_rule, q.protocol NULLS FIRST, c.evaluation_id;
