-- units_by_block: one row per variant that removes whole heads and neurons, and block: how many of each it removes.
-- topic: masks
-- $variant_id VARCHAR = NULL
SELECT
    v.label, u.block,
    max(u.n_removed) FILTER (u.kind = 'heads') AS removed_heads,
    max(u.n_units) FILTER (u.kind = 'heads') AS heads,
    max(u.n_removed) FILTER (u.kind = 'neurons') AS removed_neurons,
    max(u.n_units) FILTER (u.kind = 'neurons') AS neurons,
    u.variant_id
FROM pruned_units AS u
JOIN described_variants AS v ON v.variant_id = u.variant_id
WHERE $variant_id::VARCHAR IS NULL OR u.variant_id = $variant_id::VARCHAR
GROUP BY v.base_model_id, v.sparsity, v.label, u.variant_id, u.block
ORDER BY v.base_model_id, v.sparsity, v.label, u.variant_id, u.block;
