-- translation_quality.sql: one row per variant, language pair and split with its BLEU and chrF; the dense model first.
SELECT b.source AS base_model, e.language AS pair, e.split, v.score, d.kind AS demonstrations, d.source_language,
       d.target_language, v.propagation, v.structure, v.intervention, v.sparsity, v.variant_id,
       max(m.value) FILTER (m.metric = 'bleu') AS bleu,
       max(m.value) FILTER (m.metric = 'chrf') AS chrf,
       max(m.ci_low) FILTER (m.metric = 'chrf') AS chrf_low,
       max(m.ci_high) FILTER (m.metric = 'chrf') AS chrf_high,
       max(m.n) AS n
FROM metrics AS m
JOIN evaluations AS e USING (evaluation_id)
JOIN variants AS v ON v.variant_id = m.variant_id
JOIN base_models AS b ON b.base_model_id = v.base_model_id
LEFT JOIN demonstration_sets AS d ON d.demonstration_set_id = v.demonstration_set_id
WHERE e.task = 'translation'
GROUP BY ALL, e.evaluation_id
ORDER BY base_model, pair, split, v.sparsity, v.score NULLS FIRST, demonstrations, d.source_language,
         d.target_language, v.variant_id, e.evaluation_id;
