-- mask_overlap_by_layer: one row per base model, score, propagation, sparsity, block and layer: how alike the masks of
-- different demonstration sets are there (Jaccard of the removed weights).
-- $sparsity DOUBLE = NULL
SELECT
    v.base_model_id, v.score, v.structure, v.propagation, v.sparsity, o.block, o.layer,
    count(*) AS n_pairs,
    avg(o.jaccard) AS mean_jaccard,
    min(o.jaccard) AS min_jaccard,
    max(o.jaccard) AS max_jaccard
FROM mask_overlaps AS o
JOIN described_variants AS v ON v.variant_id = o.variant_a
WHERE $sparsity::DOUBLE IS NULL OR v.sparsity = $sparsity::DOUBLE
GROUP BY ALL
ORDER BY v.base_model_id, v.score, v.structure, v.propagation, v.sparsity, o.block, o.layer;
