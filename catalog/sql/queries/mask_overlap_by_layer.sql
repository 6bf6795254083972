-- mask_overlap_by_layer: one row per base model, score, propagation, sparsity, block and layer, and per differs_in and
-- settings: how alike the masks of variants are there (Jaccard of the removed weights) that differ in their
-- demonstration sets (differs_in is sets), in the seed, or in whatever else differs_in lists; settings is what they
-- share beside, or the two they have.
-- $sparsity DOUBLE = NULL
SELECT
    p.base_model_id, p.score, p.structure, p.propagation, p.sparsity, p.differs_in, p.settings, o.block, o.layer,
    count(*) AS n_pairs,
    avg(o.jaccard::DECIMAL(18, 15)) AS mean_jaccard, -- decimals add up to the same in any order
    min(o.jaccard) AS min_jaccard,
    max(o.jaccard) AS max_jaccard
FROM mask_overlaps AS o
JOIN mask_pairs AS p ON p.variant_a = o.variant_a AND p.variant_b = o.variant_b
WHERE $sparsity::DOUBLE IS NULL OR p.sparsity = $sparsity::DOUBLE
GROUP BY ALL
ORDER BY
    p.base_model_id, p.score, p.structure, p.propagation, p.sparsity, p.differs_in, p.settings NULLS FIRST,
    o.block, o.layer;
