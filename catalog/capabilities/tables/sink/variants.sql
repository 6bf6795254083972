-- variants: one row per recipe and variant that it names, with the settings that become params and the names as text
SELECT
    n.recipe, v.variant_id, v.label, n.names, m.source AS base_model, v.score, v.structure, v.propagation, v.sparsity,
    v.achieved_sparsity, v.set_kind, v.source_language, v.target_language, v.shots, v.samples, v.seed, v.intervention,
    v.demonstration_label, v.settings
FROM (
    SELECT recipe, id, string_agg(DISTINCT name, ', ' ORDER BY name) AS names
    FROM names
    WHERE kind = 'variant'
    GROUP BY recipe, id
) AS n
JOIN described_variants AS v ON v.variant_id = n.id
JOIN base_models AS m ON m.base_model_id = v.base_model_id
ORDER BY n.recipe, v.label, v.variant_id;
