-- filters: one row per value that the page can be filtered by. It is a base model, a task, a score (for a variant
-- without one, its combination or run-time baseline), or the label of demonstrations that a variant read or whose
-- features were observed, such as the language pair fr-en
SELECT 1 AS place, 'model' AS filter, source AS value FROM base_models
UNION
SELECT 2, 'task', task FROM evaluations WHERE profile = 'corrected'
UNION
SELECT 3, 'score', coalesce(intervention, score, combination) FROM described_variants WHERE NOT is_dense
UNION
SELECT 4, 'pair', demonstration_label FROM described_variants WHERE demonstration_label IS NOT NULL
UNION
SELECT 4, 'pair', label FROM internal.described_sets
WHERE demonstration_set_id IN (
    SELECT set_a FROM feature_overlaps
    UNION ALL
    SELECT demonstration_set_id FROM feature_magnitudes
)
ORDER BY place, value;
