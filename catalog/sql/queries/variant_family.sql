-- variant_family: one row per combination of variants and parent: what was combined, how, and the fraction of weights
-- that the combination and each parent remove.
-- topic: methods
-- $variant_id VARCHAR = NULL
SELECT
    v.label, v.combination, v.achieved_sparsity, p.role,
    o.label AS parent_label,
    o.score AS parent_score,
    o.structure AS parent_structure,
    o.propagation AS parent_propagation,
    o.demonstration_label AS parent_demonstration_label,
    o.settings AS parent_settings,
    o.sparsity AS parent_sparsity,
    o.achieved_sparsity AS parent_achieved_sparsity,
    p.variant_id, p.parent_variant_id, v.base_model_id
FROM variant_parents AS p
JOIN described_variants AS v ON v.variant_id = p.variant_id
JOIN described_variants AS o ON o.variant_id = p.parent_variant_id
WHERE v.combination IS NOT NULL AND ($variant_id::VARCHAR IS NULL OR p.variant_id = $variant_id::VARCHAR)
ORDER BY v.base_model_id, v.label, p.variant_id, length(p.role), p.role, p.parent_variant_id;
