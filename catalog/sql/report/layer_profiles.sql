-- layer_profiles: one row per base model, method, block and layer: the removed fraction of the layer's weights, as the
-- mean over the variants of the method at its largest sparsity. The most uneven methods come first; those whose layers differ by
-- less than 0.005 are left out.
-- title: Removed weights by layer
-- anchor: layers
-- optional: true
-- explanation: One table per method at its largest sparsity, with a row per block and a column per layer. A cell is the
-- fraction of the layer's weights that is removed, as the mean over the variants of the method. The most uneven methods
-- come first; methods that remove the same fraction everywhere are left out.
-- empty: All variants remove the same fraction of every layer.
WITH of_methods AS (
    SELECT
        variant_id, base_model_id, coalesce(score, combination) AS score, set_kind, propagation, structure, settings,
        sparsity
    FROM described_variants
    WHERE NOT is_dense AND intervention IS NULL
    QUALIFY sparsity = max(sparsity) OVER (
        PARTITION BY base_model_id, coalesce(score, combination), set_kind, propagation, structure, settings
    )
),
layers AS (
    SELECT
        b.name AS base_model, m.* EXCLUDE (variant_id), l.block, l.layer,
        count(*) AS n_variants,
        avg(l.n_removed / nullif(l.n_weights, 0) ORDER BY l.variant_id) AS removed_share
    FROM of_methods AS m
    JOIN variant_layers AS l ON l.variant_id = m.variant_id
    JOIN internal.described_models AS b ON b.base_model_id = m.base_model_id
    GROUP BY ALL
)
SELECT *, max(removed_share) OVER of_method - min(removed_share) OVER of_method AS unevenness
FROM layers
WINDOW of_method AS (PARTITION BY base_model_id, score, set_kind, propagation, structure, settings, sparsity)
QUALIFY unevenness >= 0.005
ORDER BY
    base_model, base_model_id, round(unevenness, 9) DESC, score DESC, set_kind DESC, propagation DESC, structure,
    settings NULLS FIRST, sparsity, block, layer;
