-- mask_overlap_of_pairs: one row per pair of demonstration sets, block and way of pruning: how similar the weights are
-- that are removed with the two language pairs (or languages). Variants are compared if nothing but their sets differs.
-- The means are over the pairs of variants and the block's layers. n_pairs counts pairs of variants.
-- topic: masks
-- $sparsity DOUBLE = NULL
-- $kind VARCHAR = NULL
WITH of_kind AS (
    SELECT variant_id FROM described_variants WHERE $kind::VARCHAR IS NULL OR set_kind = $kind::VARCHAR
)
SELECT
    p.score, p.structure, p.propagation, p.sparsity, p.settings,
    p.first_demonstration_label AS first,
    p.second_demonstration_label AS second,
    o.block,
    count(DISTINCT (p.variant_a, p.variant_b)) AS n_pairs,
    avg(o.jaccard::DECIMAL(18, 15)) AS mean_jaccard, -- decimals add up to the same in any order
    min(o.jaccard) AS min_jaccard,
    max(o.jaccard) AS max_jaccard, p.base_model_id
FROM internal.mask_pairs AS p
SEMI JOIN of_kind AS a ON a.variant_id = p.variant_a
SEMI JOIN of_kind AS b ON b.variant_id = p.variant_b
JOIN mask_overlaps AS o ON o.variant_a = p.variant_a AND o.variant_b = p.variant_b
WHERE p.differs_in = 'sets' AND ($sparsity::DOUBLE IS NULL OR p.sparsity = $sparsity::DOUBLE)
GROUP BY ALL
ORDER BY
    p.base_model_id, p.score, p.structure, p.propagation, p.sparsity, p.settings NULLS FIRST, first, second, o.block;
