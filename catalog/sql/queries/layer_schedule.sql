-- layer_schedule: one row per pruned variant and block: the fraction of the block's weights that is removed, and for
-- schedule owl the block's outlier ratio. A variant that was made from several records of ratios has a row for each.
-- $variant_id VARCHAR = NULL
-- $schedule VARCHAR = NULL
-- $with_uniform BOOLEAN = true
WITH RECURSIVE ancestors(variant_id, id) AS (
    SELECT v.variant_id, o.ordering_id
    FROM variants AS v
    JOIN ordering_variants AS o ON o.variant_id = v.variant_id
    WHERE v.schedule = 'owl' AND v.combination IS NULL
    UNION
    SELECT a.variant_id, p.parent_id FROM ancestors AS a JOIN record_parents AS p ON p.id = a.id
),
ratios AS (
    SELECT a.variant_id, r.outliers_id, r.m, r.block, r.ratio
    FROM ancestors AS a
    JOIN outlier_ratios AS r ON r.outliers_id = a.id
),
blocks AS (
    SELECT variant_id, block, sum(n_weights)::BIGINT AS n_weights, sum(n_removed)::BIGINT AS n_removed
    FROM variant_layers
    GROUP BY variant_id, block
)
SELECT
    v.label, b.block, b.n_removed / nullif(b.n_weights, 0) AS removed_share, b.n_removed, b.n_weights,
    r.ratio AS outlier_ratio, r.m AS outlier_m,
    v.schedule, v.sparsity, v.achieved_sparsity, v.score, v.demonstration_label, v.propagation, v.structure, v.settings,
    m.source AS base_model, b.variant_id, r.outliers_id, v.base_model_id
FROM blocks AS b
JOIN described_variants AS v ON v.variant_id = b.variant_id
LEFT JOIN base_models AS m ON m.base_model_id = v.base_model_id
LEFT JOIN ratios AS r ON r.variant_id = b.variant_id AND r.block = b.block
WHERE ($variant_id::VARCHAR IS NULL OR b.variant_id = $variant_id::VARCHAR)
    AND ($with_uniform::BOOLEAN OR v.schedule <> 'uniform')
    AND ($schedule::VARCHAR IS NULL OR v.schedule = $schedule::VARCHAR)
ORDER BY base_model, v.base_model_id, v.sparsity, v.label, b.variant_id, r.outliers_id, b.block;
