-- perplexity: one row per variant, language and split: perplexity on held-out text (lower is better) with its 95 %
-- interval, and its ratio to the dense model's with the interval and p-value (after Holm's correction over the family) of
-- the paired comparison, which is made on the scale of logarithms
WITH ratios AS (
    SELECT evaluation_id, exp(difference) AS ratio, exp(ci_low) AS low, exp(ci_high) AS high, p_holm
    FROM comparisons_to_dense
    WHERE metric = 'perplexity' AND scale = 'log_ratio'
    QUALIFY row_number() OVER (PARTITION BY evaluation_id ORDER BY baseline_evaluation_id) = 1
)
SELECT
    b.source AS base_model, m.language, m.split, v.label, coalesce(v.score, v.combination) AS score,
    v.intervention, v.set_kind, v.demonstration_label, v.seed, v.propagation, v.structure, v.settings, v.sparsity,
    m.value AS perplexity, m.ci_low, m.ci_high,
    coalesce(r.ratio, m.value / nullif(m.dense_value, 0)) AS ratio_to_dense,
    r.low AS ratio_low, r.high AS ratio_high, r.p_holm, m.n,
    m.variant_id, m.evaluation_id
FROM measured AS m
JOIN described_variants AS v ON v.variant_id = m.variant_id
JOIN base_models AS b ON b.base_model_id = m.base_model_id
ANTI JOIN outdone_evaluations AS o ON o.evaluation_id = m.evaluation_id
LEFT JOIN ratios AS r ON r.evaluation_id = m.evaluation_id
WHERE m.metric = 'perplexity'
ORDER BY
    base_model, m.language <> 'en', m.language, m.split, v.sparsity, score DESC NULLS FIRST, v.label,
    m.variant_id, m.evaluation_id;
