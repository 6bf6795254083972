-- mask_overlaps: one row per base model, method, pair of demonstration sets and block: which fraction of the weights
-- that either of two variants removes both remove (Jaccard), as the mean over the layers of the block and over all pairs
-- of variants that differ in these sets only; at the largest sparsity of each method.
WITH pairs AS (
    SELECT
        p.variant_a, p.variant_b, v.base_model_id, v.score, v.propagation, v.structure, v.settings, v.sparsity,
        least(v.demonstrations, w.demonstrations) AS demonstrations,
        greatest(v.demonstrations, w.demonstrations) AS other_demonstrations,
        least(v.demonstrations, w.demonstrations) || ' and ' || greatest(v.demonstrations, w.demonstrations) AS sets
    FROM mask_pairs AS p
    JOIN described_variants AS v ON v.variant_id = p.variant_a
    JOIN described_variants AS w ON w.variant_id = p.variant_b
    WHERE p.differs_in = 'sets'
    QUALIFY v.sparsity = max(v.sparsity) OVER (
        PARTITION BY v.base_model_id, v.score, v.propagation, v.structure, v.settings
    )
)
SELECT
    b.source AS base_model, p.base_model_id, p.score, p.propagation, p.structure, p.settings, p.sparsity, p.sets,
    p.demonstrations, p.other_demonstrations, o.block,
    count(DISTINCT o.variant_a || o.variant_b) AS n_pairs,
    avg(o.jaccard ORDER BY o.variant_a, o.variant_b, o.layer) AS jaccard
FROM pairs AS p
JOIN mask_overlaps AS o ON o.variant_a = p.variant_a AND o.variant_b = p.variant_b
JOIN base_models AS b ON b.base_model_id = p.base_model_id
GROUP BY ALL
ORDER BY base_model, p.base_model_id, p.score DESC, p.propagation DESC, p.structure, p.settings NULLS FIRST, p.sets, o.block;
