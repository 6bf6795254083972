-- compared_with_baselines: one row per language, scoring rule, protocol, variant and baseline. A baseline is another
-- dense base model, or a run-time method. The difference is the variant minus the baseline. Holm's correction is over
-- all rows. For perplexity and ece lower is better.
-- $task VARCHAR = 'facts'
-- $metric VARCHAR = 'accuracy'
-- $split VARCHAR = 'test'
WITH family AS (
    SELECT
        c.* EXCLUDE (p_holm),
        v.base_model_id, v.label, v.sparsity, v.intervention, v.settings,
        b.base_model_id AS baseline_base_model_id,
        b.label AS baseline_label,
        b.intervention AS baseline_intervention,
        b.settings AS baseline_settings,
        row_number() OVER (ORDER BY c.p_value NULLS LAST, c.evaluation_id, c.baseline_evaluation_id) AS place,
        count(c.p_value) OVER () AS n_family
    FROM comparisons_once AS c
    JOIN described_variants AS v ON v.variant_id = c.variant_id
    JOIN described_variants AS b ON b.variant_id = c.baseline_id
    WHERE c.task = $task AND c.metric = $metric AND c.split = $split
        AND (
            v.base_model_id <> b.base_model_id OR v.intervention IS NOT NULL OR b.intervention IS NOT NULL
        )
),
adjusted AS (
    SELECT
        *,
        CASE
            WHEN p_value IS NOT NULL THEN least(1, max((n_family - place + 1) * p_value) OVER (ORDER BY place))
        END AS p_holm
    FROM family
)
SELECT
    ours.source AS base_model, a.label, a.sparsity, a.intervention, a.settings,
    theirs.source AS baseline_base_model, a.baseline_label, a.baseline_intervention, a.baseline_settings,
    a.language, m.value, n.value AS baseline_value, a.difference, a.ci_low, a.ci_high, a.p_value, a.p_holm, a.n_family,
    e.scoring_rule, e.example_limit, q.protocol, a.variant_id, a.baseline_id, a.evaluation_id, a.baseline_evaluation_id
FROM adjusted AS a
JOIN evaluations AS e ON e.evaluation_id = a.evaluation_id
LEFT JOIN protocols AS q ON q.protocol_id = e.protocol_id
JOIN metrics AS m ON m.evaluation_id = a.evaluation_id AND m.metric = a.metric
JOIN metrics AS n ON n.evaluation_id = a.baseline_evaluation_id AND n.metric = a.metric
JOIN base_models AS ours ON ours.base_model_id = a.base_model_id
JOIN base_models AS theirs ON theirs.base_model_id = a.baseline_base_model_id
ORDER BY
    base_model, a.sparsity, a.label, a.variant_id, baseline_base_model, a.baseline_label, a.baseline_id,
    e.scoring_rule, q.protocol NULLS FIRST, a.language, a.evaluation_id;
