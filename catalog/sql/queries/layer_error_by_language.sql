-- layer_error_by_language: one row per variant, demonstration set and dtype with computed layer errors: whose outputs the
-- variant changes most. An error is the squared change of a layer's output on the tokens of the set in the
-- dense model, divided by the squared output. mean_error and median_error are over layers; worst_block and worst_layer
-- have worst_error. Rank 1 has the largest mean error; ratio_to_least divides it by the smallest mean error of the
-- variant.
-- topic: masks
-- $kind VARCHAR = NULL
-- $language VARCHAR = NULL
-- $variant_id VARCHAR = NULL
WITH means AS (
    SELECT
        e.variant_id, e.demonstration_set_id, e.gram_matrices_id, any_value(g.dtype) AS dtype,
        avg(e.error::DECIMAL(28, 15)) AS mean_error, -- decimals add up to the same in any order
        median(e.error) AS median_error,
        max(e.error) AS worst_error,
        first(e.block ORDER BY e.error DESC, e.block, e.layer) AS worst_block,
        first(e.layer ORDER BY e.error DESC, e.block, e.layer) AS worst_layer,
        count(*) AS n_layers
    FROM layer_errors AS e
    JOIN demonstration_sets AS s ON s.demonstration_set_id = e.demonstration_set_id
    LEFT JOIN records AS g ON g.kind = 'gram_matrices' AND g.id = e.gram_matrices_id
    WHERE $kind::VARCHAR IS NULL OR s.kind = $kind::VARCHAR
    GROUP BY e.variant_id, e.demonstration_set_id, e.gram_matrices_id
),
ranked AS (
    SELECT
        *,
        rank() OVER (PARTITION BY variant_id, dtype ORDER BY mean_error DESC) AS rank,
        mean_error / nullif(min(mean_error) OVER (PARTITION BY variant_id, dtype), 0) AS ratio_to_least
    FROM means
)
SELECT
    v.label, v.sparsity, d.label AS demonstrations, d.source_language AS language, r.rank, r.mean_error, r.median_error,
    r.ratio_to_least, r.worst_block, r.worst_layer, r.worst_error, r.n_layers, d.seed, v.base_model_id, r.variant_id,
    r.demonstration_set_id, r.dtype
FROM ranked AS r
JOIN described_variants AS v ON v.variant_id = r.variant_id
JOIN internal.described_sets AS d ON d.demonstration_set_id = r.demonstration_set_id
WHERE
    ($language::VARCHAR IS NULL OR $language::VARCHAR IN (d.source_language, d.target_language))
    AND ($variant_id::VARCHAR IS NULL OR r.variant_id = $variant_id::VARCHAR)
ORDER BY v.base_model_id, v.sparsity, v.label, r.variant_id, r.dtype, r.rank, demonstrations,
    r.demonstration_set_id, r.gram_matrices_id;
