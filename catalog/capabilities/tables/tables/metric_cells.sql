-- metric_cells: one row per variant, language, scoring rule and evaluation setup: a value with its interval, and its
-- test against the dense model. LRP2 leaves English unchanged, so its English rows are those of the dense model. Both
-- profiles of evaluations.
-- $task VARCHAR
-- $metric VARCHAR
-- $split VARCHAR
WITH tests AS (
    SELECT c.evaluation_id, c.difference, c.p_value, c.p_corrected, c.test, c.n_family
    FROM internal.comparisons AS c
    JOIN internal.variant_descriptions AS v ON v.variant_id = c.variant_id
    JOIN internal.variant_descriptions AS d
        ON d.variant_id = c.baseline_id AND d.is_dense AND d.base_model_id = v.base_model_id
    WHERE c.task = $task AND c.metric = $metric AND c.split = $split
),
measured_cells AS (
    SELECT
        m.variant_id, m.scoring_rule, m.protocol_id, m.profile AS evaluation_profile, m.language,
        m.value, m.ci_low, m.ci_high, m.n, t.difference, t.p_value, t.p_corrected, t.test,
        t.n_family, m.evaluation_id
    FROM metrics AS m
    ANTI JOIN internal.outdone_evaluations AS o ON o.evaluation_id = m.evaluation_id
    LEFT JOIN tests AS t ON t.evaluation_id = m.evaluation_id
    WHERE m.task = $task AND m.metric = $metric AND m.split = $split AND m.value IS NOT NULL
),
unchanged_cells AS (
    SELECT DISTINCT l.variant_id, d.* EXCLUDE (variant_id)
    FROM measured_cells AS l
    JOIN internal.variant_descriptions AS v ON v.variant_id = l.variant_id AND v.intervention = 'lrp2'
    JOIN internal.variant_descriptions AS u ON u.base_model_id = v.base_model_id AND u.is_dense
    JOIN measured_cells AS d
        ON d.variant_id = u.variant_id AND d.language = 'en' AND d.protocol_id = l.protocol_id
        AND d.scoring_rule IS NOT DISTINCT FROM l.scoring_rule
    WHERE NOT EXISTS (
        SELECT 1 FROM measured_cells AS e
        WHERE e.variant_id = l.variant_id AND e.language = 'en' AND e.protocol_id = l.protocol_id
            AND e.scoring_rule IS NOT DISTINCT FROM l.scoring_rule
    )
)
SELECT
    b.name AS model, v.label, v.is_dense AS dense, v.score, v.set_kind, v.source_language, v.target_language,
    v.demonstration_label, v.structure, v.propagation, v.sparsity, v.seed, v.intervention, v.profile,
    v.settings, coalesce(m.evaluation_profile, 'corrected') AS evaluation_profile, m.scoring_rule, q.protocol,
    m.language, m.value, m.ci_low, m.ci_high, m.n, m.difference, m.p_value, m.p_corrected, m.test,
    m.n_family, v.variant_id, m.evaluation_id
FROM (FROM measured_cells UNION ALL FROM unchanged_cells) AS m
JOIN internal.variant_descriptions AS v ON v.variant_id = m.variant_id
JOIN internal.described_models AS b ON b.base_model_id = v.base_model_id
LEFT JOIN internal.protocols AS q ON q.protocol_id = m.protocol_id
ORDER BY b.name, m.scoring_rule, q.protocol NULLS FIRST, v.label, v.variant_id, m.language;
