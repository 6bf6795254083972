-- best_by_language: one row per base model, language and scoring rule: the variant chosen on dev, and its test accuracy
-- in comparison with dense. The scoring rule is followed by the protocol if that is not the default.
-- $task VARCHAR = 'facts'
SELECT
    language, label, difference, difference_ci_low, difference_ci_high, p_value,
    test_value, test_ci_low, test_ci_high, dense_value, dev_value,
    english_difference, english_ci_low, english_ci_high,
    score, sparsity, propagation, set_kind, source_language, target_language, settings,
    concat_ws(', ', scoring_rule, protocol) AS scoring_rule, variant_id, base_model_id
FROM best_variant
LEFT JOIN protocols USING (protocol_id)
WHERE best_variant.task = $task
ORDER BY base_model_id, scoring_rule, language;
