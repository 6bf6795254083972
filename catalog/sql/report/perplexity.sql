-- perplexity: one row per variant, language and split: perplexity on held-out text (lower is better) with its 95 %
-- interval, and its ratio to the dense model's with the interval and p-value (after Holm's correction over the family) of
-- the paired comparison, which is made on the scale of logarithms
-- title: Perplexity
-- anchor: perplexity
-- explanation: Perplexity on held-out text with its 95 % interval; lower is better. The ratio to dense has the interval
-- of the paired comparison; 1 is as good as dense. p is corrected by Holm's method over the family of the comparison.
-- Compare values of the same language only. With fewer than 100 items, the interval understates a loss that few items
-- cause.
-- empty: No perplexity was evaluated. An entry under evaluations with task: perplexity fills this table.
-- column language: language
-- column split: split
-- column label: variant
-- column sparsity: sparsity
-- column perplexity: perplexity [ci_low, ci_high]
-- column ratio_to_dense: ratio to dense [ratio_low, ratio_high]
-- column p_value: p
-- column p_corrected: p, corrected
-- column n_family: tests
WITH ratios AS (
    SELECT evaluation_id, exp(difference) AS ratio, exp(ci_low) AS low, exp(ci_high) AS high, p_value, p_corrected, n_family
    FROM internal.against_dense
    WHERE group_kind = 'language' AND metric = 'perplexity' AND scale = 'log_ratio'
    QUALIFY row_number() OVER (PARTITION BY evaluation_id ORDER BY baseline_evaluation_id) = 1
)
SELECT
    b.name AS base_model, m.language, m.split, v.label, coalesce(v.score, v.combination) AS score,
    v.intervention, v.set_kind, v.demonstration_label, v.seed, v.propagation, v.structure, v.settings, v.sparsity,
    m.value AS perplexity, m.ci_low, m.ci_high,
    coalesce(r.ratio, m.value / nullif(m.dense_value, 0)) AS ratio_to_dense,
    r.low AS ratio_low, r.high AS ratio_high, r.p_value, r.p_corrected, r.n_family, m.n,
    m.variant_id, m.evaluation_id
FROM measured AS m
JOIN described_variants AS v ON v.variant_id = m.variant_id
JOIN internal.described_models AS b ON b.base_model_id = m.base_model_id
ANTI JOIN internal.outdone_evaluations AS o ON o.evaluation_id = m.evaluation_id
LEFT JOIN ratios AS r ON r.evaluation_id = m.evaluation_id
WHERE m.metric = 'perplexity'
ORDER BY
    base_model, m.language <> 'en', m.language, m.split, v.sparsity, score DESC NULLS FIRST, v.label,
    m.variant_id, m.evaluation_id;
