-- rank_consistency_cells: one row per variant, language, scoring rule and evaluation setup: RankC with English, with
-- the columns of metric_cells. p_corrected corrects p_value over the languages of the variant.
-- $task VARCHAR
-- $split VARCHAR
WITH cells AS (
    SELECT
        r.*,
        count(r.p_value) OVER variant_languages AS n_family,
        count(r.p_value) OVER (variant_languages ORDER BY r.p_value, r.language) AS p_rank
    FROM rank_consistency AS r
    ANTI JOIN internal.outdone_evaluations AS o ON o.evaluation_id = r.evaluation_id
    WHERE r.task = $task AND r.split = $split AND r.reference_language = 'en' AND r.value IS NOT NULL
    WINDOW variant_languages AS (PARTITION BY r.variant_id, r.profile, r.scoring_rule, r.protocol_id)
)
SELECT
    b.name AS model, v.label, v.is_dense AS dense, v.score, v.set_kind, v.source_language, v.target_language,
    v.demonstration_label, v.structure, v.propagation, v.sparsity, v.seed, v.intervention, v.profile,
    v.settings, coalesce(r.profile, 'corrected') AS evaluation_profile, r.scoring_rule, q.protocol,
    r.language, r.value, r.ci_low, r.ci_high,
    r.n_items AS n, r.difference, r.p_value,
    CASE WHEN r.p_value IS NOT NULL THEN max(least(1, (r.n_family - r.p_rank + 1) * r.p_value)) OVER (
        PARTITION BY r.variant_id, r.profile, r.scoring_rule, r.protocol_id
        ORDER BY r.p_rank ROWS UNBOUNDED PRECEDING
    ) END AS p_corrected,
    CASE WHEN r.p_value IS NOT NULL THEN 'sign_flip' END AS test, r.n_family, v.variant_id, r.evaluation_id
FROM cells AS r
JOIN internal.variant_descriptions AS v ON v.variant_id = r.variant_id
JOIN internal.described_models AS b ON b.base_model_id = v.base_model_id
LEFT JOIN internal.protocols AS q ON q.protocol_id = r.protocol_id
ORDER BY b.name, r.scoring_rule, q.protocol NULLS FIRST, v.label, v.variant_id, r.language;
