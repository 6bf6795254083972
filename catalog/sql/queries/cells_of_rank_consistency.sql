-- cells_of_rank_consistency: one row per variant, language, scoring rule and protocol: RankC with English, with the
-- columns of cells_of_metric. The catalog has no interval and no test of RankC. These are the cells of mlprune tables.
-- $task VARCHAR = 'facts'
-- $split VARCHAR = 'test'
SELECT
    b.source AS model, v.label, v.is_dense AS dense, v.score, v.set_kind, v.source_language, v.target_language,
    v.demonstration_label AS demonstrations, v.structure, v.propagation, v.sparsity, v.seed, v.intervention, v.profile,
    v.settings, coalesce(r.profile, 'corrected') AS evaluation_profile, r.scoring_rule, q.protocol,
    r.language, r.value, NULL::DOUBLE AS ci_low, NULL::DOUBLE AS ci_high,
    r.n_items AS n, NULL::DOUBLE AS difference, NULL::DOUBLE AS p_value, NULL::DOUBLE AS p_holm, v.variant_id,
    r.evaluation_id
FROM rank_consistency AS r
ANTI JOIN outdone_evaluations AS o ON o.evaluation_id = r.evaluation_id
JOIN variant_descriptions AS v ON v.variant_id = r.variant_id
JOIN base_models AS b ON b.base_model_id = v.base_model_id
LEFT JOIN protocols AS q ON q.protocol_id = r.protocol_id
WHERE r.task = $task AND r.split = $split AND r.reference_language = 'en' AND r.value IS NOT NULL
ORDER BY b.source, r.scoring_rule, q.protocol NULLS FIRST, v.label, v.variant_id, r.language;
