-- variants: one row per variant, as in described_variants, with the names that recipes give it
SELECT
    v.label, n.names, v.sparsity, v.score, v.propagation, v.structure, v.demonstration_label, v.seed, v.settings,
    v.achieved_sparsity, v.is_dense,
    v.* EXCLUDE (
        label, sparsity, score, propagation, structure, demonstration_label, seed, settings, achieved_sparsity, is_dense
    )
FROM described_variants AS v
LEFT JOIN (
    SELECT id, string_agg(DISTINCT name, ', ' ORDER BY name) AS names FROM names WHERE kind = 'variant' GROUP BY id
) AS n ON n.id = v.variant_id;
