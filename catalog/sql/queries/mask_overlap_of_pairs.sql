-- mask_overlap_of_pairs: one row per two demonstration sets, block and way of pruning: how alike the removed weights are
-- that two language pairs (or languages) lead to, where nothing but the sets differs. The means are over the pairs of
-- variants and the block's layers. n_pairs counts pairs of variants.
-- $sparsity DOUBLE = NULL
-- $kind VARCHAR = NULL
WITH pairs AS (
    SELECT
        p.variant_a, p.variant_b, a.base_model_id, a.score, a.structure, a.propagation, a.sparsity, p.settings,
        least(a.demonstrations, b.demonstrations) AS first,
        greatest(a.demonstrations, b.demonstrations) AS second
    FROM mask_pairs AS p
    JOIN described_variants AS a ON a.variant_id = p.variant_a
    JOIN described_variants AS b ON b.variant_id = p.variant_b
    WHERE p.differs_in = 'sets'
        AND ($sparsity::DOUBLE IS NULL OR a.sparsity = $sparsity::DOUBLE)
        AND ($kind::VARCHAR IS NULL OR a.set_kind = $kind::VARCHAR AND b.set_kind = $kind::VARCHAR)
)
SELECT
    p.base_model_id, p.score, p.structure, p.propagation, p.sparsity, p.settings, p.first, p.second, o.block,
    count(DISTINCT (p.variant_a, p.variant_b)) AS n_pairs,
    avg(o.jaccard::DECIMAL(18, 15)) AS mean_jaccard, -- decimals add up to the same in any order
    min(o.jaccard) AS min_jaccard,
    max(o.jaccard) AS max_jaccard
FROM pairs AS p
JOIN mask_overlaps AS o ON o.variant_a = p.variant_a AND o.variant_b = p.variant_b
GROUP BY ALL
ORDER BY
    p.base_model_id, p.score, p.structure, p.propagation, p.sparsity, p.settings NULLS FIRST, p.first, p.second, o.block;
