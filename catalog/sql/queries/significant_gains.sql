-- significant_gains: one row per variant and language that is significantly better than dense, the largest gain first:
-- the gains of significant_changes.
-- $task VARCHAR = 'facts'
-- $metric VARCHAR = 'accuracy'
-- $split VARCHAR = 'test'
-- $alpha DOUBLE = 0.05
SELECT
    a.language, v.label, a.difference, a.ci_low, a.ci_high, a.p_value, a.p_holm, m.value, a.dense_value,
    v.score, v.sparsity, v.propagation, v.set_kind, v.source_language, v.target_language, v.settings,
    a.family, a.n_family, a.variant_id, a.evaluation_id, v.base_model_id
FROM changes_to_dense AS a
JOIN described_variants AS v ON v.variant_id = a.variant_id
JOIN metrics AS m
    ON m.evaluation_id = a.evaluation_id AND m.metric = $metric AND m.task = $task AND m.split = $split
WHERE a.task = $task AND a.metric = $metric AND a.split = $split AND a.change = 'gain' AND a.p_holm <= $alpha
ORDER BY a.gain DESC, a.language, a.variant_id;
