-- variants: one row per evaluated variant of $variant_ids, or of all if there are none, with the base model that it is
-- made from and the settings that results state
SELECT
    v.variant_id, v.label, m.source AS base_model, v.is_dense, v.score, v.structure, v.propagation, v.sparsity,
    v.achieved_sparsity, v.demonstration_label, v.settings, w.refiner, v.bits, v.intervention, w.mask_sha256
FROM described_variants AS v
JOIN variants AS w ON w.variant_id = v.variant_id
JOIN base_models AS m ON m.base_model_id = v.base_model_id
SEMI JOIN evaluations AS e ON e.variant_id = v.variant_id
WHERE len($variant_ids::VARCHAR[]) = 0 OR list_contains($variant_ids::VARCHAR[], v.variant_id)
ORDER BY base_model, v.is_dense DESC, v.sparsity, v.label, v.variant_id;
