-- best_by_language: which variant to use for each language. One row per base model, language, metric and scoring rule:
-- what to use, which is the candidate with the best value on dev if its gain over dense is shown on test, else the
-- dense model. difference is the gain of chosen_on_dev on test, english_difference what English gains or pays with it;
-- with dense, English pays nothing. The dense model is a candidate, and the choice is over sparsity, score and scope
-- together. win_share is how often the candidate is chosen when dev is resampled. optimism is the gain over dense on
-- dev minus that on test: never report a gain on dev, nor the best of test. With with_groups, two more criteria:
-- outside_english (the mean of the others) and worst (the worst language). The scoring rule is followed by the
-- evaluation setup if that is not the default.
-- topic: answers
-- first: criterion, use, verdict, chosen_on_dev, difference, english_difference
-- folded: criterion, use, verdict, chosen_on_dev, difference, english_difference
-- $task VARCHAR = 'facts'
-- $metric VARCHAR = NULL
-- $with_groups BOOLEAN = false
SELECT
    b.criterion, b.language, b.use, b.verdict, b.label AS chosen_on_dev,
    b.difference, b.difference_ci_low, b.difference_ci_high, b.english_difference, b.english_ci_low, b.english_ci_high,
    b.p_value, b.p_corrected, b.test_value, b.test_ci_low, b.test_ci_high, b.dense_value, b.dev_value, b.dev_difference,
    b.win_share, b.n_tied, b.n_candidates,
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
