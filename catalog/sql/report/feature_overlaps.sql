-- feature_overlaps: one row per cell of the overlap heat maps: of the features that are largest on set A at a depth,
-- the fraction that is among the smallest on set B. share is the fraction of all features that counts as large or
-- small, and demonstration_label the label of set A.
SELECT
    m.source AS base_model, o.base_model_id, o.share, o.depth,
    a.kind AS kind_a, a.source_language AS source_a, a.target_language AS target_a, a.seed AS seed_a,
    a.profile AS profile_a,
    b.kind AS kind_b, b.source_language AS source_b, b.target_language AS target_b, b.seed AS seed_b,
    b.profile AS profile_b,
    a.label AS demonstration_label, o.value, o.set_a, o.set_b
FROM feature_overlaps AS o
JOIN base_models AS m ON m.base_model_id = o.base_model_id
JOIN described_sets AS a ON a.demonstration_set_id = o.set_a
JOIN demonstration_sets AS b ON b.demonstration_set_id = o.set_b
WHERE o.profile = 'corrected'
ORDER BY
    base_model, o.base_model_id, o.share, o.depth,
    a.kind, a.source_language, a.target_language, a.profile, a.seed, o.set_a,
    b.kind, b.source_language, b.target_language, b.profile, b.seed, o.set_b;
