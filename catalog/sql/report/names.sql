-- names: one row per name that a recipe gives to a base model, a demonstration set or a variant, with its id; meaning
-- tells apart what one entry of a recipe made: of a set its label and seed, of a variant its method and sparsity.
SELECT
    n.recipe, n.kind, n.name,
    CASE n.kind
        WHEN 'demonstration_set' THEN concat_ws(', ', s.label, 'seed ' || s.seed, s.unusual)
        WHEN 'variant' THEN
            concat_ws(
                ', ', concat_ws(' on ', coalesce(v.score, v.combination, v.intervention), v.demonstration_label),
                'seed ' || v.seed, v.propagation || ' propagation', v.settings, 'sparsity ' || v.sparsity
            )
    END AS meaning,
    n.id
FROM names AS n
LEFT JOIN described_sets AS s ON s.demonstration_set_id = n.id
LEFT JOIN described_variants AS v ON v.variant_id = n.id
ORDER BY n.recipe, n.kind, n.name, meaning, n.id;
