-- largest_features: the largest hidden features of each text. One row per base model, demonstration set, token scope, depth and
-- rank.
-- topic: model
-- $depth INTEGER = NULL
-- $top INTEGER = 20
SELECT
    d.kind, d.source_language, d.target_language, d.profile, s.token_scope,
    f.depth, f.rank, f.feature, f.magnitude, f.demonstration_set_id, f.statistics_id, f.base_model_id
FROM feature_magnitudes AS f
JOIN demonstration_sets AS d ON d.demonstration_set_id = f.demonstration_set_id
JOIN statistics AS s ON s.statistics_id = f.statistics_id
WHERE f.rank <= $top AND ($depth::INTEGER IS NULL OR f.depth = $depth::INTEGER)
ORDER BY f.base_model_id, d.kind, d.source_language, d.target_language, f.statistics_id, f.depth, f.rank;
