-- mask_overlaps: one row per base model, method, pair of demonstration sets and block: of the weights that at least one
-- of two variants removes, the fraction that both remove (Jaccard). It is the mean over the layers of the block and
-- over all pairs of variants that differ only in these sets, at the largest sparsity of each method.
WITH pairs AS (
    SELECT
        * EXCLUDE (differs_in),
        first_demonstration_label || ' and ' || second_demonstration_label AS sets
    FROM mask_pairs
    WHERE differs_in = 'sets'
    QUALIFY sparsity = max(sparsity) OVER (PARTITION BY base_model_id, score, propagation, structure, settings)
)
SELECT
    b.source AS base_model, p.base_model_id, p.score, p.propagation, p.structure, p.settings, p.sparsity, p.sets,
    p.first_demonstration_label AS demonstration_label,
    p.second_demonstration_label AS other_demonstration_label,
    o.block,
    count(DISTINCT o.variant_a || o.variant_b) AS n_pairs,
    avg(o.jaccard ORDER BY o.variant_a, o.variant_b, o.layer) AS jaccard
FROM pairs AS p
JOIN mask_overlaps AS o ON o.variant_a = p.variant_a AND o.variant_b = p.variant_b
JOIN base_models AS b ON b.base_model_id = p.base_model_id
GROUP BY ALL
ORDER BY
    base_model, p.base_model_id, p.score DESC, p.propagation DESC, p.structure, p.settings NULLS FIRST, p.sets, o.block;
