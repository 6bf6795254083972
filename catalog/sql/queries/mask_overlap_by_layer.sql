-- mask_overlap_by_layer: one row per base model, score, propagation, sparsity, block, layer, differs_in and settings:
-- the mean similarity (Jaccard of the removed weights) of variants' masks in the layer. differs_in lists the attributes
-- in which the two variants of a pair differ, sets for the demonstration sets; settings is their common text, or the
-- two texts.
-- $sparsity DOUBLE = NULL
SELECT
    p.score, p.structure, p.propagation, p.sparsity, p.differs_in, p.settings, o.block, o.layer,
    count(*) AS n_pairs,
    avg(o.jaccard::DECIMAL(18, 15)) AS mean_jaccard, -- decimals add up to the same in any order
    min(o.jaccard) AS min_jaccard,
    max(o.jaccard) AS max_jaccard, p.base_model_id
FROM mask_overlaps AS o
JOIN mask_pairs AS p ON p.variant_a = o.variant_a AND p.variant_b = o.variant_b
WHERE $sparsity::DOUBLE IS NULL OR p.sparsity = $sparsity::DOUBLE
GROUP BY ALL
ORDER BY
    p.base_model_id, p.score, p.structure, p.propagation, p.sparsity, p.differs_in, p.settings NULLS FIRST,
    o.block, o.layer;
