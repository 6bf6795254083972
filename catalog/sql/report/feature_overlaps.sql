-- feature_overlaps.sql: one row per cell of the overlap heat-maps: which fraction of the features that are largest on
-- set_a are among the smallest on set_b after a block; share is the part of all features that counts as large or small.
SELECT o.base_model_id, o.share, o.block,
       o.set_a, a.kind AS kind_a, a.source_language AS source_a, a.target_language AS target_a, a.seed AS seed_a,
       o.set_b, b.kind AS kind_b, b.source_language AS source_b, b.target_language AS target_b, b.seed AS seed_b,
       o.value
FROM feature_overlaps AS o
JOIN demonstration_sets AS a ON a.demonstration_set_id = o.set_a
JOIN demonstration_sets AS b ON b.demonstration_set_id = o.set_b
ORDER BY o.base_model_id, o.share, o.block, a.kind, a.source_language, a.target_language, a.seed, o.set_a,
         b.kind, b.source_language, b.target_language, b.seed, o.set_b;
