-- chosen_on_dev: one row per base model, criterion, scoring rule and evaluation setup: the candidate with the best
-- value on dev, its value on test, and the optimism of dev, as in best_by_language
-- $task VARCHAR
-- $metric VARCHAR
SELECT
    b.criterion, b.language, b.label, b.verdict, b.use, b.dev_value, b.dev_difference, b.win_share, b.n_tied, b.n_candidates,
    b.test_value, b.test_ci_low AS ci_low, b.test_ci_high AS ci_high, b.dense_value,
    b.difference, b.difference_ci_low, b.difference_ci_high, b.p_value, b.p_corrected, b.n_family, b.optimism,
    b.english_difference, b.english_ci_low, b.english_ci_high,
    b.n_shared_items, b.shared_clusters, e.n AS dev_n, t.n AS test_n,
    v.score, v.sparsity, v.propagation, v.structure, v.scope, v.settings, b.is_dense, b.scale,
    b.metric, b.scoring_rule, q.protocol, b.variant_id, b.dev_evaluation_id, b.test_evaluation_id, b.base_model_id
FROM best_variant AS b
JOIN described_variants AS v ON v.variant_id = b.variant_id
LEFT JOIN internal.protocols AS q ON q.protocol_id = b.protocol_id
LEFT JOIN metrics AS e
    ON e.evaluation_id = b.dev_evaluation_id AND e.metric = $metric AND e.task = $task AND e.split = 'dev'
LEFT JOIN metrics AS t
    ON t.evaluation_id = b.test_evaluation_id AND t.metric = $metric AND t.task = $task AND t.split = 'test'
WHERE b.task = $task AND b.metric = $metric
ORDER BY b.base_model_id, b.scoring_rule, q.protocol NULLS FIRST, b.language IS NULL, b.criterion;
