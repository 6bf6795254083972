-- refinement_by_layer: one row per refined variant, layer and demonstration set: the error of the layer's output on the
-- tokens of the set before and after its mask was refined, and the swaps. change is error_after / error_before - 1.
-- topic: methods
-- $variant_id VARCHAR = NULL
SELECT
    v.label, w.refiner, v.sparsity, r.block, r.layer, d.label AS demonstrations, r.error_before, r.error_after,
    r.error_after / nullif(r.error_before, 0) - 1 AS change, r.n_swaps, r.n_rows_changed, v.base_model_id,
    r.variant_id, r.demonstration_set_id
FROM refined_layers AS r
JOIN described_variants AS v ON v.variant_id = r.variant_id
JOIN variants AS w ON w.variant_id = r.variant_id
JOIN internal.described_sets AS d ON d.demonstration_set_id = r.demonstration_set_id
WHERE $variant_id::VARCHAR IS NULL OR r.variant_id = $variant_id::VARCHAR
ORDER BY
    v.base_model_id, v.label, v.sparsity, r.variant_id, r.block, r.layer, demonstrations, r.demonstration_set_id;
