-- gain_over_dense_by_sparsity: one row per base model, score, propagation, kind of set, settings and sparsity:
-- the mean difference to dense outside English, English's own, and in how many of the comparisons outside English it is
-- above 0.
-- $task VARCHAR = 'facts'
-- $metric VARCHAR = 'accuracy'
-- $split VARCHAR = 'test'
SELECT
    base_model_id, score, structure, propagation, set_kind, settings, sparsity,
    count(DISTINCT variant_id) AS n_variants,
    avg(difference) FILTER (WHERE language <> 'en') AS others_difference,
    avg(difference) FILTER (WHERE language = 'en') AS english_difference,
    count(*) FILTER (WHERE language <> 'en') AS n_others,
    count(*) FILTER (WHERE language <> 'en' AND difference > 0) AS n_others_above_dense
FROM gain_over_dense
WHERE task = $task AND metric = $metric AND split = $split
GROUP BY ALL
ORDER BY base_model_id, score, structure, propagation, set_kind, settings NULLS FIRST, sparsity;
