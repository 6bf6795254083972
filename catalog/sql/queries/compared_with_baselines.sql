-- compared_with_baselines: one row per language, scoring rule, protocol, variant and baseline. A baseline is another
-- dense base model, or a run-time method. The difference is the variant minus the baseline. p_corrected is corrected over the
-- family of the comparison.
-- topic: answers
-- first: label, baseline_label, language, difference, p_corrected
-- $task VARCHAR = 'facts'
-- $metric VARCHAR = 'accuracy'
-- $split VARCHAR = 'test'
SELECT
    v.label, b.label AS baseline_label, c.language, c.difference, c.ci_low, c.ci_high, c.p_value, c.p_corrected, c.n_family,
    c.n_gained, c.n_lost, c.n, c.n_clusters, c.detectable_difference, m.value, n.value AS baseline_value, v.sparsity, v.intervention, v.settings,
    b.intervention AS baseline_intervention, b.settings AS baseline_settings,
    ours.source AS base_model, theirs.source AS baseline_base_model, c.test_family, c.scale, c.conditional_on_one_draw,
    m.scoring_rule, m.example_limit, q.protocol, c.variant_id, c.baseline_id, c.evaluation_id, c.baseline_evaluation_id
FROM internal.comparisons AS c
ANTI JOIN internal.outdone_evaluations AS o ON o.evaluation_id = c.evaluation_id
JOIN described_variants AS v ON v.variant_id = c.variant_id
JOIN described_variants AS b ON b.variant_id = c.baseline_id
JOIN metrics AS m ON m.evaluation_id = c.evaluation_id AND m.metric = c.metric
JOIN metrics AS n ON n.evaluation_id = c.baseline_evaluation_id AND n.metric = c.metric
LEFT JOIN internal.protocols AS q ON q.protocol_id = m.protocol_id
JOIN base_models AS ours ON ours.base_model_id = v.base_model_id
JOIN base_models AS theirs ON theirs.base_model_id = b.base_model_id
WHERE c.profile = 'corrected' AND c.task = $task AND c.metric = $metric AND c.split = $split
    AND (v.base_model_id <> b.base_model_id OR v.intervention IS NOT NULL OR b.intervention IS NOT NULL)
ORDER BY
    base_model, v.sparsity, v.label, c.variant_id, baseline_base_model, baseline_label, c.baseline_id,
    m.scoring_rule, q.protocol NULLS FIRST, c.language, c.evaluation_id;
