-- mask_stability: one row per block and group of pairs of variants that differ in one attribute: the bootstrap of the
-- demonstrations (resample_seed), the number of demonstrations (n_demonstrations), or the tokens that count
-- (token_scope). first and second are the two values of the attribute. The means (Jaccard of removed weights) are over
-- the pairs and the block's layers. Pairs that a recipe excludes from analyses.mask_overlaps are missing.
-- topic: masks
-- $differs_in VARCHAR = NULL
-- $sparsity DOUBLE = NULL
WITH pairs AS (
    SELECT
        p.*,
        CASE p.differs_in
            WHEN 'resample_seed' THEN CASE WHEN a.resample_seed IS NULL THEN 'original' ELSE 'resampled' END
            WHEN 'n_demonstrations' THEN coalesce(a.n_demonstrations::VARCHAR, 'all')
            ELSE a.token_scope
        END AS of_a,
        CASE p.differs_in
            WHEN 'resample_seed' THEN CASE WHEN b.resample_seed IS NULL THEN 'original' ELSE 'resampled' END
            WHEN 'n_demonstrations' THEN coalesce(b.n_demonstrations::VARCHAR, 'all')
            ELSE b.token_scope
        END AS of_b,
        a.base_model_id, a.score, a.structure, a.propagation, a.sparsity, a.demonstration_label
    FROM internal.mask_pairs AS p
    JOIN described_variants AS a ON a.variant_id = p.variant_a
    JOIN described_variants AS b ON b.variant_id = p.variant_b
    WHERE p.differs_in IN ('resample_seed', 'n_demonstrations', 'token_scope')
        AND ($differs_in::VARCHAR IS NULL OR p.differs_in = $differs_in::VARCHAR)
        AND ($sparsity::DOUBLE IS NULL OR a.sparsity = $sparsity::DOUBLE)
)
SELECT
    p.score, p.structure, p.propagation, p.sparsity, p.demonstration_label, p.settings, p.differs_in,
    least(p.of_a, p.of_b) AS first,
    greatest(p.of_a, p.of_b) AS second,
    o.block,
    count(DISTINCT (p.variant_a, p.variant_b)) AS n_pairs,
    avg(o.jaccard ORDER BY p.variant_a, p.variant_b, o.layer) AS mean_jaccard,
    min(o.jaccard) AS min_jaccard,
    max(o.jaccard) AS max_jaccard, p.base_model_id
FROM pairs AS p
JOIN mask_overlaps AS o ON o.variant_a = p.variant_a AND o.variant_b = p.variant_b
GROUP BY ALL
ORDER BY
    p.base_model_id, p.differs_in, p.score, p.structure, p.propagation, p.sparsity, p.demonstration_label, p.settings,
    first, second, o.block;
