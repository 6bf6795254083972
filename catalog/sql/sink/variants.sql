-- variants: one row per variant and recipe that names it, with the settings that become params.
SELECT
    n.recipe, n.name, v.variant_id, m.source AS base_model, v.score, v.structure, v.propagation, v.sparsity,
    v.achieved_sparsity, v.set_kind, v.source_language, v.target_language, v.shots, v.samples, v.seed, v.intervention,
    v.demonstrations, v.settings
FROM names AS n
JOIN described_variants AS v ON v.variant_id = n.id
JOIN base_models AS m ON m.base_model_id = v.base_model_id
WHERE n.kind = 'variant'
ORDER BY n.recipe, n.name, v.variant_id;
