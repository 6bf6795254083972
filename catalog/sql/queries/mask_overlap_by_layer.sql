-- mask_overlap_by_layer: one row per base model, score, propagation, sparsity, block, layer, differs_in, kinds of sets
-- and settings: the mean similarity (Jaccard of the removed weights) of variants' masks in the layer, and the value that
-- unrelated masks of these sizes have on average. differs_in lists the attributes in which the two variants of a pair
-- differ, sets for the demonstration sets; set_kinds are the two kinds of sets, settings the common text or the two texts.
-- topic: masks
-- $sparsity DOUBLE = NULL
SELECT
    p.score, p.structure, p.propagation, p.sparsity, p.differs_in, p.set_kinds, p.settings, o.block, o.layer,
    count(*) AS n_pairs,
    avg(o.jaccard::DECIMAL(18, 15)) AS mean_jaccard, -- decimals add up to the same in any order
    avg(coalesce(
        x.n_removed * y.n_removed / nullif((x.n_removed + y.n_removed) * x.n_weights - x.n_removed * y.n_removed, 0), 1
    )::DECIMAL(18, 15)) AS jaccard_by_chance,
    min(o.jaccard) AS min_jaccard,
    max(o.jaccard) AS max_jaccard, p.base_model_id
FROM mask_overlaps AS o
JOIN internal.mask_pairs AS p ON p.variant_a = o.variant_a AND p.variant_b = o.variant_b
LEFT JOIN variant_layers AS x ON x.variant_id = o.variant_a AND x.block = o.block AND x.layer = o.layer
LEFT JOIN variant_layers AS y ON y.variant_id = o.variant_b AND y.block = o.block AND y.layer = o.layer
WHERE $sparsity::DOUBLE IS NULL OR p.sparsity = $sparsity::DOUBLE
GROUP BY ALL
ORDER BY
    p.base_model_id, p.score, p.structure, p.propagation, p.sparsity, p.differs_in, p.set_kinds NULLS FIRST,
    p.settings NULLS FIRST, o.block, o.layer;
