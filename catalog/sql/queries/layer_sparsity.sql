-- layer_sparsity: how much of each layer a variant removes. One row per variant, block and layer, or with by_block per
-- variant and block: the fraction of the weights that is removed.
-- topic: masks
-- $variant_id VARCHAR = NULL
-- $by_block BOOLEAN = false
SELECT
    v.label, l.block, CASE WHEN NOT $by_block THEN l.layer END AS layer,
    sum(l.n_weights)::BIGINT AS n_weights,
    sum(l.n_removed)::BIGINT AS n_removed,
    sum(l.n_removed) / nullif(sum(l.n_weights), 0) AS sparsity,
    v.sparsity AS variant_sparsity, v.schedule, v.demonstration_label,
    l.variant_id
FROM variant_layers AS l
JOIN described_variants AS v ON v.variant_id = l.variant_id
WHERE $variant_id::VARCHAR IS NULL OR l.variant_id = $variant_id::VARCHAR
GROUP BY v.base_model_id, v.sparsity, v.label, v.schedule, v.demonstration_label, l.variant_id, l.block, 3
ORDER BY v.base_model_id, v.sparsity, v.label, l.variant_id, l.block, layer;
