-- layers: one row per variant and layer, with the shares of its weights that are removed and kept
SELECT
    v.label, l.block, l.layer, l.n_weights, l.n_removed,
    l.n_removed / nullif(l.n_weights, 0) AS sparsity,
    1 - l.n_removed / nullif(l.n_weights, 0) AS density,
    l.variant_id
FROM variant_layers AS l
JOIN internal.variant_descriptions AS v ON v.variant_id = l.variant_id;
