-- perplexity: one row per variant, language and split: perplexity on held-out text (lower is better), its 95 % interval
-- and its ratio to the dense model's
SELECT
    b.source AS base_model, m.language, m.split, v.label, coalesce(v.score, v.combination) AS score,
    v.intervention, v.set_kind, v.demonstration_label, v.seed, v.propagation, v.structure, v.settings, v.sparsity,
    m.value AS perplexity, m.ci_low, m.ci_high, m.value / nullif(m.dense_value, 0) AS ratio_to_dense, m.n,
    m.variant_id, m.evaluation_id
FROM measured AS m
JOIN described_variants AS v ON v.variant_id = m.variant_id
JOIN base_models AS b ON b.base_model_id = m.base_model_id
WHERE m.metric = 'perplexity'
ORDER BY
    base_model, m.language <> 'en', m.language, m.split, v.sparsity, score DESC NULLS FIRST, v.label,
    m.variant_id, m.evaluation_id;
