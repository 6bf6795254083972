-- largest_features.sql: one row per feature among the 20 largest of a block on a demonstration set, on the dense model.
-- Block 0 is the output of the embeddings, block l what leaves block l; magnitude is the mean over demonstrations of the
-- feature's root of summed squares over tokens.
SELECT f.base_model_id, f.demonstration_set_id, d.kind, d.source_language, d.target_language, d.seed,
       f.block, f.rank, f.feature, f.magnitude
FROM feature_magnitudes AS f
JOIN statistics AS s USING (statistics_id)
JOIN demonstration_sets AS d ON d.demonstration_set_id = f.demonstration_set_id
WHERE s.propagation = 'dense' AND f.rank <= 20
QUALIFY f.statistics_id = min(f.statistics_id) OVER (PARTITION BY f.base_model_id, f.demonstration_set_id)
ORDER BY f.base_model_id, d.kind DESC, d.source_language, d.target_language, d.seed, f.demonstration_set_id,
         f.block, f.rank;
