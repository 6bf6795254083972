-- feature_overlap_by_depth: large features that two texts do not share. One row per base model, dtype, pair of
-- demonstration sets, share and depth: the fraction of the first set's large features that are small in the second.
-- topic: model
-- first: source_language_a, source_language_b, depth, value
-- $share DOUBLE = NULL
-- $profile VARCHAR = 'corrected'
SELECT
    a.kind AS kind_a, a.source_language AS source_language_a, a.target_language AS target_language_a,
    b.kind AS kind_b, b.source_language AS source_language_b, b.target_language AS target_language_b,
    o.depth, o.value, o.share, o.profile, a.profile AS profile_a, b.profile AS profile_b,
    o.set_a, o.set_b, o.base_model_id, r.dtype
FROM feature_overlaps AS o
JOIN demonstration_sets AS a ON a.demonstration_set_id = o.set_a
JOIN demonstration_sets AS b ON b.demonstration_set_id = o.set_b
LEFT JOIN records AS r ON r.kind = 'statistics' AND r.id = o.statistics_a
WHERE o.profile = $profile AND ($share::DOUBLE IS NULL OR o.share = $share::DOUBLE)
ORDER BY
    o.profile, o.share, o.depth, kind_a, source_language_a, target_language_a, profile_a,
    kind_b, source_language_b, target_language_b, profile_b, o.value, o.set_a, o.set_b, o.base_model_id,
    o.statistics_a, o.statistics_b;
