-- significant_gains: one row per variant and language that is better than dense beyond chance, the largest gain first.
-- Holm is computed over all comparisons to dense of this task, split and metric. Of perplexity and ece less is better.
-- $task VARCHAR = 'facts'
-- $metric VARCHAR = 'accuracy'
-- $split VARCHAR = 'test'
-- $alpha DOUBLE = 0.05
WITH family AS (
    SELECT
        *,
        CASE WHEN metric IN ('perplexity', 'ece') THEN -difference ELSE difference END AS gain,
        row_number() OVER (ORDER BY p_value, evaluation_id, baseline_evaluation_id) AS place,
        count(*) OVER () AS n_family
    FROM gain_over_dense
    WHERE task = $task AND metric = $metric AND split = $split AND p_value IS NOT NULL
),
adjusted AS (
    SELECT *, least(1, max((n_family - place + 1) * p_value) OVER (ORDER BY place)) AS p_holm FROM family
)
SELECT
    base_model_id, language, variant_name, score, propagation, sparsity, set_kind, source_language, target_language,
    settings, value, dense_value, difference, ci_low, ci_high, p_value, p_holm, n_family, variant_id, evaluation_id
FROM adjusted
WHERE gain > 0 AND p_holm <= $alpha
ORDER BY gain DESC, language, variant_id;
