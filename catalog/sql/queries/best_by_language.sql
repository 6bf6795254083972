-- best_by_language: the variant chosen on dev, and its gain on test. One row per base model, language, metric and scoring
-- rule: the candidate with the best value on dev, in comparison with dense. The dense model is a candidate, and the choice
-- is over sparsity, score and scope together. win_share is how often the candidate is chosen when dev is resampled.
-- optimism is the gain over dense on dev minus that on test: never report a gain on dev, nor the best of test. With
-- with_groups, two more criteria: outside_english (the mean of the others) and worst (the worst language). The scoring rule
-- is followed by the protocol if that is not the default.
-- topic: answers
-- first: criterion, label, difference, p_corrected, dense_value, win_share
-- $task VARCHAR = 'facts'
-- $metric VARCHAR = NULL
-- $with_groups BOOLEAN = false
SELECT
    b.criterion, b.language, b.label, b.difference, b.difference_ci_low, b.difference_ci_high, b.p_value, b.p_corrected,
    b.test_value, b.test_ci_low, b.test_ci_high, b.dense_value, b.dev_value, b.dev_difference, b.win_share, b.n_tied,
    b.n_candidates, b.english_difference, b.english_ci_low, b.english_ci_high,
    b.score, b.sparsity, b.propagation, v.structure, v.scope, b.set_kind, b.source_language, b.target_language, b.settings,
    b.is_dense, b.scale, b.n_family, b.optimism, b.n_shared_items, b.shared_clusters, b.metric,
    concat_ws(', ', b.scoring_rule, q.protocol) AS scoring_rule, b.variant_id, b.dev_evaluation_id, b.test_evaluation_id,
    b.base_model_id
FROM best_variant AS b
JOIN described_variants AS v ON v.variant_id = b.variant_id
LEFT JOIN internal.protocols AS q ON q.protocol_id = b.protocol_id
WHERE b.task = $task AND (b.language IS NOT NULL OR $with_groups)
    AND ($metric::VARCHAR IS NULL OR b.metric = $metric::VARCHAR)
ORDER BY b.base_model_id, b.metric, b.scoring_rule, q.protocol NULLS FIRST, b.language IS NULL, b.criterion;
