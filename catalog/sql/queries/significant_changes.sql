-- significant_changes: one row per variant and language that is significantly better or worse than dense, the losses
-- (regressions) first. p_holm is corrected over the family of the comparison, gains and losses together.
-- $task VARCHAR = 'facts'
-- $metric VARCHAR = 'accuracy'
-- $split VARCHAR = 'test'
-- $alpha DOUBLE = 0.05
-- $change VARCHAR = NULL
SELECT
    a.change, a.language, v.label, a.difference, a.ci_low, a.ci_high, a.p_value, a.p_holm, m.value, a.dense_value,
    v.score, v.sparsity, v.propagation, v.set_kind, v.source_language, v.target_language, v.settings,
    a.family, a.n_family, a.variant_id, a.evaluation_id, v.base_model_id
FROM changes_to_dense AS a
JOIN described_variants AS v ON v.variant_id = a.variant_id
JOIN metrics AS m
    ON m.evaluation_id = a.evaluation_id AND m.metric = $metric AND m.task = $task AND m.split = $split
WHERE a.task = $task AND a.metric = $metric AND a.split = $split
    AND a.p_holm <= $alpha AND a.change IS NOT NULL AND ($change::VARCHAR IS NULL OR a.change = $change::VARCHAR)
ORDER BY a.change DESC, a.gain, a.language, a.variant_id;
