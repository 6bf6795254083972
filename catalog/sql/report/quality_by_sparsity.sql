-- quality_by_sparsity: one row per point of the curves: a task, metric (accuracy, chrF or perplexity), language, method
-- and sparsity, with the mean over the variants and the lowest and highest end of their 95 % intervals. A method has
-- one point over all of its demonstration sets (demonstration_label is NULL, and is_mean_over_pairs is true if it read
-- any) and one point for each set. The dense model has no score. The split is test, or dev for a task that was
-- evaluated only on dev. Run-time baselines are excluded.
WITH points AS (
    SELECT
        b.source AS base_model, m.base_model_id, m.task, m.split, m.metric,
        concat_ws(', ', m.scoring_rule, q.protocol) AS scoring_rule, m.example_limit, m.language,
        coalesce(v.score, v.combination) AS score, v.set_kind, v.propagation, v.structure, v.settings, v.sparsity,
        v.demonstration_label, m.variant_id, m.value, m.ci_low, m.ci_high
    FROM measured AS m
    JOIN described_variants AS v ON v.variant_id = m.variant_id
    JOIN base_models AS b ON b.base_model_id = m.base_model_id
    LEFT JOIN protocols AS q ON q.protocol_id = m.protocol_id
    WHERE m.metric IN ('accuracy', 'chrf', 'perplexity') AND m.value IS NOT NULL AND v.intervention IS NULL
    QUALIFY m.split = max(m.split) OVER (PARTITION BY m.base_model_id, m.task)
),
all_points AS (
    SELECT * REPLACE (NULL AS demonstration_label), demonstration_label IS NOT NULL AS is_mean_over_pairs FROM points
    UNION ALL BY NAME
    SELECT *, false AS is_mean_over_pairs FROM points WHERE demonstration_label IS NOT NULL
)
SELECT
    base_model, base_model_id, task, split, metric, scoring_rule, example_limit, language,
    score, set_kind, propagation, structure, settings, demonstration_label, is_mean_over_pairs, sparsity,
    count(DISTINCT variant_id) AS n_variants,
    avg(value ORDER BY variant_id) AS value,
    min(ci_low) AS ci_low,
    max(ci_high) AS ci_high
FROM all_points
GROUP BY ALL
ORDER BY
    base_model, base_model_id, task, metric, scoring_rule, example_limit, language,
    score DESC NULLS FIRST, set_kind DESC, propagation DESC, structure, settings NULLS FIRST,
    demonstration_label NULLS FIRST, sparsity;
