-- best_by_language: one row per base model, language and scoring rule: the candidate chosen on dev, and its test accuracy
-- in comparison with dense. The dense model is a candidate. win_share is how often the candidate is chosen when dev is
-- resampled. The scoring rule is followed by the protocol if that is not the default.
-- topic: answers
-- first: language, label, difference, p_corrected, dense_value, win_share
-- $task VARCHAR = 'facts'
SELECT
    language, label, difference, difference_ci_low, difference_ci_high, p_value, p_corrected,
    test_value, test_ci_low, test_ci_high, dense_value, dev_value, win_share, n_tied, n_candidates,
    english_difference, english_ci_low, english_ci_high,
    score, sparsity, propagation, set_kind, source_language, target_language, settings, is_dense, scale, n_family,
    optimism, n_shared_items, shared_clusters, metric,
    concat_ws(', ', scoring_rule, protocol) AS scoring_rule, variant_id, base_model_id
FROM best_variant
LEFT JOIN internal.protocols USING (protocol_id)
WHERE best_variant.task = $task AND language IS NOT NULL
ORDER BY base_model_id, scoring_rule, language;
