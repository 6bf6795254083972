-- largest_features: one row per feature among the 20 largest at a depth, while the dense model reads a demonstration
-- set; all tokens count. Depth 0 is the output of the embeddings. magnitude is the mean over demonstrations of the
-- feature's Euclidean norm over the tokens.
-- title: The largest features after every block
-- anchor: magnitudes
-- explanation: One panel per demonstration set. Each dot is one of the 20 largest features of the dense model's hidden
-- state at a depth. Features that are large most often, over all depths and sets, have a colour and a line of their
-- own, which is interrupted where they are not among the 20. A colour is the same feature in every panel.
-- empty: The store has no feature magnitudes. A set under demonstrations that is read by a variant with dense
-- propagation or by a feature overlap fills this figure.
SELECT
    b.name AS base_model, f.base_model_id, d.kind, d.source_language, d.target_language, d.seed, d.profile,
    d.label AS demonstration_label, d.settings,
    f.depth, f.rank, f.feature, f.magnitude, f.demonstration_set_id
FROM feature_magnitudes AS f
JOIN statistics AS s ON s.statistics_id = f.statistics_id AND s.propagation = 'dense'
    AND coalesce(s.token_scope, 'all') = 'all'
JOIN internal.described_models AS b ON b.base_model_id = f.base_model_id
JOIN internal.described_sets AS d ON d.demonstration_set_id = f.demonstration_set_id
WHERE f.rank <= 20
QUALIFY f.statistics_id = min(f.statistics_id) OVER (PARTITION BY f.base_model_id, f.demonstration_set_id)
ORDER BY
    base_model, f.base_model_id, d.kind DESC, d.source_language, d.target_language, d.profile, d.seed,
    f.demonstration_set_id, f.depth, f.rank;
