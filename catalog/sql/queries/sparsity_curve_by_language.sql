-- sparsity_curve_by_language: one row per point of a curve: a language's value at one sparsity, dense at sparsity 0.
-- $task VARCHAR = 'facts'
-- $metric VARCHAR = 'accuracy'
-- $split VARCHAR = 'test'
-- $language VARCHAR = NULL
SELECT
    base_model_id, language, score, structure, propagation, set_kind, source_language, target_language,
    demonstrations, settings, sparsity, value, ci_low, ci_high, n_variants, scoring_rule, example_limit, setup
FROM sparsity_curve
WHERE task = $task AND metric = $metric AND split = $split
    AND ($language::VARCHAR IS NULL OR language = $language::VARCHAR)
ORDER BY ALL;
