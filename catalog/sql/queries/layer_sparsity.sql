-- layer_sparsity: one row per variant, block and layer: the fraction of the layer's weights that is removed.
-- topic: masks
-- $variant_id VARCHAR = NULL
SELECT
    v.label, l.block, l.layer, l.n_weights, l.n_removed,
    l.n_removed / nullif(l.n_weights, 0) AS sparsity,
    v.sparsity AS variant_sparsity,
    l.variant_id
FROM variant_layers AS l
JOIN described_variants AS v ON v.variant_id = l.variant_id
WHERE $variant_id::VARCHAR IS NULL OR l.variant_id = $variant_id::VARCHAR
ORDER BY v.base_model_id, v.sparsity, v.label, l.variant_id, l.block, l.layer;
