-- translation_quality: one row per variant, language pair and split: BLEU and chrF, and the change of chrF from dense
SELECT
    b.source AS base_model, m.language AS pair, m.split, v.label,
    coalesce(v.score, v.combination) AS score, v.intervention, v.set_kind, v.demonstration_label, v.seed, v.propagation,
    v.structure, v.settings, v.sparsity,
    max(m.value) FILTER (WHERE m.metric = 'bleu') AS bleu,
    max(m.value) FILTER (WHERE m.metric = 'chrf') AS chrf,
    max(m.ci_low) FILTER (WHERE m.metric = 'chrf') AS chrf_low,
    max(m.ci_high) FILTER (WHERE m.metric = 'chrf') AS chrf_high,
    max(m.value - m.dense_value) FILTER (WHERE m.metric = 'chrf') AS chrf_change,
    max(m.n) AS n,
    m.variant_id, m.evaluation_id
FROM measured AS m
JOIN described_variants AS v ON v.variant_id = m.variant_id
JOIN base_models AS b ON b.base_model_id = m.base_model_id
WHERE m.task = 'translation'
GROUP BY ALL
ORDER BY base_model, pair, m.split, v.sparsity, score DESC NULLS FIRST, v.label, m.variant_id, m.evaluation_id;
