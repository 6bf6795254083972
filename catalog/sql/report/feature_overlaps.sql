-- feature_overlaps: one row per cell of the overlap heat maps: of the features that are largest on set A at a depth,
-- the fraction that is among the smallest on set B. share is the fraction of all features that counts as large or
-- small, and demonstration_label the label of set A. top_shared is the fraction of the n_top largest features of A that
-- are also among the n_top largest of B, and top_by_chance that of unrelated sets; NULL without stored magnitudes.
-- title: Are features that are large on one text small on another?
-- anchor: overlaps
-- explanation: One table per depth. A cell is the fraction of the largest features on set A (rows) that are among the
-- smallest on set B (columns). 0 says only that no feature is at opposite ends, not that both sets have the same large
-- features: for that, the tables under the second heading have the fraction of the largest features of A that are also
-- among the largest of B, and its value for unrelated sets. A pair such as fr-en is a set of translation demonstrations, a single language a
-- monolingual one. Choose a pair above to see only its rows.
-- empty: The store has no feature overlaps. The recipe needs two or more sets of kind translation or monolingual under
-- demonstrations.
WITH largest AS (
    SELECT statistics_id, depth, list(feature) AS features
    FROM feature_magnitudes
    WHERE rank <= 20
    GROUP BY ALL
)
SELECT
    m.source AS base_model, o.base_model_id, r.dtype, o.share, o.depth,
    a.kind AS kind_a, a.source_language AS source_a, a.target_language AS target_a, a.seed AS seed_a,
    a.profile AS profile_a,
    b.kind AS kind_b, b.source_language AS source_b, b.target_language AS target_b, b.seed AS seed_b,
    b.profile AS profile_b,
    a.label AS demonstration_label, o.value,
    len(x.features) AS n_top,
    CASE WHEN len(x.features) = len(y.features) THEN len(list_intersect(x.features, y.features)) / n_top END
        AS top_shared,
    n_top / m.hidden_size AS top_by_chance,
    o.set_a, o.set_b
FROM feature_overlaps AS o
JOIN base_models AS m ON m.base_model_id = o.base_model_id
JOIN internal.described_sets AS a ON a.demonstration_set_id = o.set_a
JOIN demonstration_sets AS b ON b.demonstration_set_id = o.set_b
LEFT JOIN records AS r ON r.kind = 'statistics' AND r.id = o.statistics_a
LEFT JOIN largest AS x ON x.statistics_id = o.statistics_a AND x.depth = o.depth
LEFT JOIN largest AS y ON y.statistics_id = o.statistics_b AND y.depth = o.depth
WHERE o.profile = 'corrected'
ORDER BY
    base_model, o.base_model_id, r.dtype, o.share, o.depth,
    a.kind, a.source_language, a.target_language, a.profile, a.seed, o.set_a,
    b.kind, b.source_language, b.target_language, b.profile, b.seed, o.set_b,
    o.statistics_a, o.statistics_b;
