-- variant_methods: one row per variant, with the columns that are equal for variants that differ in nothing but a seed.
SELECT variant_id, label, is_dense, method, sparsity, shots, samples
FROM variant_descriptions
ORDER BY variant_id;
