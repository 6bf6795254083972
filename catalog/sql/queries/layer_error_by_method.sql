-- layer_error_by_method: one row per demonstration set, dtype, sparsity, structure and variant with computed layer errors:
-- which method changes the outputs of the layers least. mean_error is over the layers (of one module path if layer is
-- given) of the squared change of the output, divided by the squared output, on the tokens of the set in the dense model.
-- Rank 1 has the smallest mean error among variants of equal base model, sparsity and structure; ratio_to_best divides
-- by it. n_best: layers in which no other of these variants has a smaller error.
-- topic: masks
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
    JOIN variants AS v ON v.variant_id = e.variant_id
    WHERE
        ($sparsity::DOUBLE IS NULL OR v.sparsity = $sparsity::DOUBLE)
        AND ($layer::VARCHAR IS NULL OR e.layer = $layer::VARCHAR)
        AND ($set_id::VARCHAR IS NULL OR e.demonstration_set_id = $set_id::VARCHAR)
),
means AS (
    SELECT
        base_model_id, sparsity, structure, demonstration_set_id, gram_matrices_id, variant_id,
        avg(error::DECIMAL(28, 15)) AS mean_error, -- decimals add up to the same in any order
        count(*) FILTER (WHERE is_best) AS n_best,
        count(*) AS n_layers
    FROM errors
    GROUP BY base_model_id, sparsity, structure, demonstration_set_id, gram_matrices_id, variant_id
),
ranked AS (
    SELECT
        *,
        rank() OVER same AS rank,
        mean_error / nullif(first_value(mean_error) OVER same, 0) AS ratio_to_best
    FROM means
    WINDOW same AS (PARTITION BY base_model_id, sparsity, structure, gram_matrices_id ORDER BY mean_error)
)
SELECT
    d.label AS set_label, r.sparsity, r.structure, r.rank, v.label, v.score, w.refiner, v.propagation, r.mean_error,
    r.ratio_to_best, r.n_best, r.n_layers, r.base_model_id, r.variant_id, r.demonstration_set_id,
    g.dtype
FROM ranked AS r
JOIN described_variants AS v ON v.variant_id = r.variant_id
JOIN variants AS w ON w.variant_id = r.variant_id
JOIN internal.described_sets AS d ON d.demonstration_set_id = r.demonstration_set_id
LEFT JOIN records AS g ON g.kind = 'gram_matrices' AND g.id = r.gram_matrices_id
ORDER BY
    r.base_model_id, set_label, r.demonstration_set_id, r.sparsity, r.structure NULLS LAST, r.gram_matrices_id, r.rank,
    v.label, r.variant_id;
