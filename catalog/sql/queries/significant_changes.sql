-- significant_changes: one row per variant and language that is better or worse than dense beyond chance, the losses
-- (regressions) first. Holm is computed over all comparisons to dense of this task, split and metric, gains and losses
-- together. Of perplexity and ece less is better.
-- $task VARCHAR = 'facts'
-- $metric VARCHAR = 'accuracy'
-- $split VARCHAR = 'test'
-- $alpha DOUBLE = 0.05
-- $change VARCHAR = NULL
WITH family AS (
    SELECT c.*, CASE WHEN c.metric IN ('perplexity', 'ece') THEN -c.difference ELSE c.difference END AS gain
    FROM comparisons_to_dense AS c
    WHERE c.task = $task AND c.metric = $metric AND c.split = $split AND c.p_value IS NOT NULL
),
ranked AS (
    SELECT
        *,
        row_number() OVER (ORDER BY p_value, evaluation_id, baseline_evaluation_id) AS place,
        (SELECT count(*) FROM family) AS n_family
    FROM family
    WHERE p_value <= $alpha  -- what Holm makes of a p-value is never smaller than it was
),
adjusted AS (
    SELECT
        *,
        least(1, max((n_family - place + 1) * p_value) OVER (ORDER BY place)) AS p_holm,
        CASE WHEN gain < 0 THEN 'loss' WHEN gain > 0 THEN 'gain' END AS change
    FROM ranked
)
SELECT
    a.change, v.base_model_id, a.language, v.variant_name, v.score, v.propagation, v.sparsity, v.set_kind,
    v.source_language, v.target_language, v.settings, m.value, a.dense_value, a.difference, a.ci_low, a.ci_high,
    a.p_value, a.p_holm, a.n_family, a.variant_id, a.evaluation_id
FROM adjusted AS a
JOIN described_variants AS v ON v.variant_id = a.variant_id
JOIN metrics AS m
    ON m.evaluation_id = a.evaluation_id AND m.metric = $metric AND m.task = $task AND m.split = $split
WHERE a.p_holm <= $alpha AND a.change IS NOT NULL AND ($change::VARCHAR IS NULL OR a.change = $change::VARCHAR)
ORDER BY a.change DESC, a.gain, a.language, a.variant_id;
