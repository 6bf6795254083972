-- mask_overlap_by_layer: how similar two masks are, in each layer. One row per base model, score, propagation, sparsity,
-- block, layer, differs_in, kinds of sets and settings: the mean similarity (Jaccard of the removed weights) of variants'
-- masks in the layer, and the value that unrelated masks of these sizes have on average. differs_in lists the attributes in
-- which the two variants of a pair differ, sets for the demonstration sets; set_kinds are the two kinds of sets, settings the
-- common text or the two texts. With by_pair, one row per block and pair of what differs, in first and second: the two
-- demonstration sets, or the two values of resample_seed, n_demonstrations or token_scope; means are over the pairs of
-- variants and the block's layers. Pairs that a recipe excludes from analyses.mask_overlaps are missing.
-- topic: masks
-- $sparsity DOUBLE = NULL
-- $differs_in VARCHAR = NULL
-- $kind VARCHAR = NULL
-- $by_pair BOOLEAN = false
WITH sides AS (
    SELECT
        variant_id, set_kind, demonstration_label,
        CASE WHEN resample_seed IS NULL THEN 'original' ELSE 'resampled' END AS bootstrap,
        coalesce(n_demonstrations::VARCHAR, 'all') AS n_demonstrations, token_scope
    FROM described_variants
),
pairs AS (
    SELECT
        p.*,
        CASE WHEN $by_pair AND p.differs_in <> 'sets' THEN a.demonstration_label END AS demonstration_label,
        CASE p.differs_in
            WHEN 'sets' THEN a.demonstration_label WHEN 'resample_seed' THEN a.bootstrap
            WHEN 'n_demonstrations' THEN a.n_demonstrations WHEN 'token_scope' THEN a.token_scope
        END AS of_a,
        CASE p.differs_in
            WHEN 'sets' THEN b.demonstration_label WHEN 'resample_seed' THEN b.bootstrap
            WHEN 'n_demonstrations' THEN b.n_demonstrations WHEN 'token_scope' THEN b.token_scope
        END AS of_b
    FROM internal.mask_pairs AS p
    JOIN sides AS a ON a.variant_id = p.variant_a
    JOIN sides AS b ON b.variant_id = p.variant_b
    WHERE ($sparsity::DOUBLE IS NULL OR p.sparsity = $sparsity::DOUBLE)
        AND ($differs_in::VARCHAR IS NULL OR p.differs_in = $differs_in::VARCHAR)
        AND ($kind::VARCHAR IS NULL OR (a.set_kind = $kind::VARCHAR AND b.set_kind = $kind::VARCHAR))
)
SELECT
    p.score, p.structure, p.propagation, p.sparsity, p.differs_in, p.set_kinds, p.settings, p.demonstration_label,
    CASE WHEN $by_pair THEN least(p.of_a, p.of_b) END AS first,
    CASE WHEN $by_pair THEN greatest(p.of_a, p.of_b) END AS second,
    o.block, CASE WHEN NOT $by_pair THEN o.layer END AS layer,
    count(DISTINCT (p.variant_a, p.variant_b)) AS n_pairs,
    avg(o.jaccard::DECIMAL(18, 15)) AS mean_jaccard, -- decimals add up to the same in any order
    avg(coalesce(
        x.n_removed * y.n_removed / nullif((x.n_removed + y.n_removed) * x.n_weights - x.n_removed * y.n_removed, 0), 1
    )::DECIMAL(18, 15)) AS jaccard_by_chance,
    min(o.jaccard) AS min_jaccard,
    max(o.jaccard) AS max_jaccard, p.base_model_id
FROM mask_overlaps AS o
JOIN pairs AS p ON p.variant_a = o.variant_a AND p.variant_b = o.variant_b
LEFT JOIN variant_layers AS x ON x.variant_id = o.variant_a AND x.block = o.block AND x.layer = o.layer
LEFT JOIN variant_layers AS y ON y.variant_id = o.variant_b AND y.block = o.block AND y.layer = o.layer
WHERE NOT $by_pair OR p.of_a IS NOT NULL
GROUP BY ALL
ORDER BY
    p.base_model_id, p.score, p.structure, p.propagation, p.sparsity, p.differs_in, p.set_kinds NULLS FIRST,
    p.settings NULLS FIRST, p.demonstration_label, first, second, o.block, layer;
