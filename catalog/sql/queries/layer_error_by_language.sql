-- layer_error_by_language: whose outputs a variant changes most. One row per variant, demonstration set and dtype with
-- computed layer errors. An error is the squared change of a layer's output on the tokens of the set in the dense model,
-- divided by the squared output. mean_error and median_error are over layers (of one module path if layer is given);
-- worst_block and worst_layer have worst_error. Rank 1 has the largest mean error among the sets of the variant;
-- ratio_to_least divides by the smallest. rank_of_method 1 has the smallest mean error among the variants of equal base
-- model, sparsity and structure on the set; ratio_to_best divides by it, and in n_best layers no other has a smaller error.
-- topic: masks
-- first: label, language, mean_error, rank, rank_of_method
-- $kind VARCHAR = NULL
-- $language VARCHAR = NULL
-- $variant_id VARCHAR = NULL
-- $sparsity DOUBLE = NULL
-- $layer VARCHAR = NULL
-- $set_id VARCHAR = NULL
WITH errors AS (
    SELECT
        e.*, v.base_model_id, v.sparsity, v.structure,
        e.error = min(e.error) OVER (
            PARTITION BY v.base_model_id, v.sparsity, v.structure, e.gram_matrices_id, e.block, e.layer
        ) AS is_best
    FROM layer_errors AS e
    JOIN described_variants AS v ON v.variant_id = e.variant_id
    JOIN demonstration_sets AS s ON s.demonstration_set_id = e.demonstration_set_id
    WHERE ($kind::VARCHAR IS NULL OR s.kind = $kind::VARCHAR)
        AND ($sparsity::DOUBLE IS NULL OR v.sparsity = $sparsity::DOUBLE)
        AND ($layer::VARCHAR IS NULL OR e.layer = $layer::VARCHAR)
        AND ($set_id::VARCHAR IS NULL OR e.demonstration_set_id = $set_id::VARCHAR)
),
means AS (
    SELECT
        e.base_model_id, e.sparsity, e.structure, e.variant_id, e.demonstration_set_id, e.gram_matrices_id,
        any_value(g.dtype) AS dtype,
        avg(e.error::DECIMAL(28, 15)) AS mean_error, -- decimals add up to the same in any order
        median(e.error) AS median_error,
        max(e.error) AS worst_error,
        first(e.block ORDER BY e.error DESC, e.block, e.layer) AS worst_block,
        first(e.layer ORDER BY e.error DESC, e.block, e.layer) AS worst_layer,
        count(*) FILTER (WHERE e.is_best) AS n_best,
        count(*) AS n_layers
    FROM errors AS e
    LEFT JOIN records AS g ON g.kind = 'gram_matrices' AND g.id = e.gram_matrices_id
    GROUP BY e.base_model_id, e.sparsity, e.structure, e.variant_id, e.demonstration_set_id, e.gram_matrices_id
),
ranked AS (
    SELECT
        *,
        rank() OVER (PARTITION BY variant_id, dtype ORDER BY mean_error DESC) AS rank,
        mean_error / nullif(min(mean_error) OVER (PARTITION BY variant_id, dtype), 0) AS ratio_to_least,
        rank() OVER of_methods AS rank_of_method,
        mean_error / nullif(first_value(mean_error) OVER of_methods, 0) AS ratio_to_best
    FROM means
    WINDOW of_methods AS (PARTITION BY base_model_id, sparsity, structure, gram_matrices_id ORDER BY mean_error)
)
SELECT
    v.label, v.sparsity, d.label AS demonstrations, d.source_language AS language, r.rank, r.mean_error, r.median_error,
    r.ratio_to_least, r.worst_block, r.worst_layer, r.worst_error, r.n_layers, r.rank_of_method, r.ratio_to_best, r.n_best,
    v.score, w.refiner, v.structure, v.propagation, d.seed, v.base_model_id, r.variant_id,
    r.demonstration_set_id, r.dtype
FROM ranked AS r
JOIN described_variants AS v ON v.variant_id = r.variant_id
JOIN variants AS w ON w.variant_id = r.variant_id
JOIN internal.described_sets AS d ON d.demonstration_set_id = r.demonstration_set_id
WHERE
    ($language::VARCHAR IS NULL OR $language::VARCHAR IN (d.source_language, d.target_language))
    AND ($variant_id::VARCHAR IS NULL OR r.variant_id = $variant_id::VARCHAR)
ORDER BY v.base_model_id, v.sparsity, v.label, r.variant_id, r.dtype, r.rank, demonstrations,
    r.demonstration_set_id, r.gram_matrices_id;
