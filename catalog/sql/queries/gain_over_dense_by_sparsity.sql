-- gain_over_dense_by_sparsity: one row per base model, score, propagation, kind of set, settings and sparsity: the mean
-- difference from dense outside English and in English, and the number of comparisons outside English with a difference
-- above 0.
-- $task VARCHAR = 'facts'
-- $metric VARCHAR = 'accuracy'
-- $split VARCHAR = 'test'
SELECT
    v.score, v.structure, v.propagation, v.set_kind, v.settings, v.sparsity,
    count(DISTINCT c.variant_id) AS n_variants,
    avg(c.difference ORDER BY c.difference) FILTER (WHERE c.language <> 'en') AS others_difference,
    avg(c.difference ORDER BY c.difference) FILTER (WHERE c.language = 'en') AS english_difference,
    count(*) FILTER (WHERE c.language <> 'en') AS n_others,
    count(*) FILTER (WHERE c.language <> 'en' AND c.difference > 0) AS n_others_above_dense, v.base_model_id
FROM comparisons_to_dense AS c
JOIN described_variants AS v ON v.variant_id = c.variant_id
WHERE c.task = $task AND c.metric = $metric AND c.split = $split
GROUP BY ALL
ORDER BY v.base_model_id, v.score, v.structure, v.propagation, v.set_kind, v.settings NULLS FIRST, v.sparsity;
