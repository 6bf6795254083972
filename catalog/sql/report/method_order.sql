-- method_order: one row per method of the store, in the order of figures. Variants of a method differ in their
-- demonstrations of one kind, sparsity and seeds.
SELECT DISTINCT coalesce(score, combination) AS score, set_kind, propagation, structure, settings, intervention
FROM variant_descriptions
WHERE NOT is_dense
ORDER BY score DESC NULLS FIRST, set_kind DESC, propagation DESC, structure, settings NULLS FIRST, intervention;
