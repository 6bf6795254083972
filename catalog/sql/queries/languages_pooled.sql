-- languages_pooled: one row per variant and language outside English: the difference to dense of the language alone, and
-- pooled, the estimate of a model over languages, which is nearer to their mean the less is known of the language. It is
-- exploratory: no test or claim follows from it. new_language is for a language that was not evaluated. Languages count
-- as drawn from one normal distribution (definitions.md).
-- topic: values
-- first: label, language, difference, pooled, mean, deviation
-- $task VARCHAR = 'facts'
-- $metric VARCHAR = 'accuracy'
-- $split VARCHAR = 'test'
-- $sparsity DOUBLE = NULL
SELECT
    v.label, p.language, p.difference, c.ci_low AS difference_ci_low, c.ci_high AS difference_ci_high,
    p.pooled, p.pooled_ci_low, p.pooled_ci_high, p.mean, p.mean_ci_low, p.mean_ci_high,
    p.new_language_ci_low, p.new_language_ci_high, p.deviation, p.deviation_ci_low, p.deviation_ci_high,
    p.error, p.n_languages, p.scale, v.score, v.sparsity, c.scoring_rule, c.example_limit, q.protocol, p.variant_id, p.evaluation_id, v.base_model_id
FROM pooled_languages AS p
ANTI JOIN internal.outdone_evaluations AS o ON o.evaluation_id = p.evaluation_id
JOIN described_variants AS v ON v.variant_id = p.variant_id
JOIN described_variants AS b ON b.variant_id = p.baseline_id AND b.is_dense AND b.base_model_id = v.base_model_id
JOIN comparison_results AS c
    ON c.evaluation_id = p.evaluation_id AND c.baseline_evaluation_id = p.baseline_evaluation_id AND c.metric = p.metric
LEFT JOIN internal.protocols AS q ON q.protocol_id = c.protocol_id
WHERE p.task = $task AND p.metric = $metric AND p.split = $split AND coalesce(c.profile, 'corrected') = 'corrected'
    AND ($sparsity::DOUBLE IS NULL OR v.sparsity = $sparsity::DOUBLE)
ORDER BY v.base_model_id, v.sparsity, v.label, p.variant_id, c.scoring_rule, c.example_limit, p.comparison_id, p.language;
