-- sensitivity_agreement_matrix: one row per analysis and pair of languages: Spearman's correlation of their losses over
-- the units, and, without the effect of sampling error on the ranks, the corrected one with its interval. With fewer than
-- ten units both mostly show what their model assumes, and are NULL.
-- topic: model
-- $by VARCHAR = 'block'
-- $task VARCHAR = 'facts'
-- $metric VARCHAR = 'accuracy'
-- $split VARCHAR = 'dev'
SELECT
    a.language, a.other_language, a.rank_correlation, CASE WHEN a.n_units >= 10 THEN a.corrected END AS corrected,
    CASE WHEN a.n_units >= 10 THEN a.ci_low END AS ci_low, CASE WHEN a.n_units >= 10 THEN a.ci_high END AS ci_high, a.n_units, a.n_clusters,
    a.sparsity, a.scoring_rule, a.example_limit, q.protocol, v.base_model_id, a.sensitivity_id
FROM sensitivity_agreement AS a
JOIN described_variants AS v ON v.variant_id = a.baseline_id
LEFT JOIN internal.protocols AS q ON q.protocol_id = a.protocol_id
WHERE a.unit_kind = $by AND a.task = $task AND a.metric = $metric AND a.split = $split
ORDER BY v.base_model_id, a.sparsity, a.sensitivity_id, a.language, a.other_language;
