-- mask_overlaps: one row per cell of the heat maps: a method, sparsity, block and layer. Of the weights that at least one
-- of two variants removes, jaccard is the fraction that both remove, as the mean over n_pairs pairs of variants that
-- differ only in their demonstration sets, lowest and highest of them. chance is the value of unrelated masks of these
-- sparsities, s t / (s + t - s t) for removed fractions s and t, and corrected is (jaccard - chance) / (1 - chance): 0 for
-- unrelated masks, 1 for equal ones. least_alike names the pair with the lowest value.
-- title: Do demonstration sets remove the same weights?
-- anchor: masks
-- explanation: One table per method and sparsity, with a row per block and a column per layer. The Jaccard index of two
-- sets of removed weights is corrected for chance, (J - chance) / (1 - chance), and is the mean over the pairs of
-- variants that differ only in their demonstration sets: 0 means unrelated masks, 1 equal ones. The data name the least
-- alike pair of each cell; the query mask_overlap_by_layer has every pair with by_pair.
-- empty: The store has no comparison of masks that differ only in their demonstration sets. Two demonstrations in one
-- entry of variants fill this figure.
WITH pairs AS (
    SELECT
        p.base_model_id, p.score, p.propagation, p.structure, p.settings, p.sparsity, o.block, o.layer, o.jaccard,
        p.first_demonstration_label || ' and ' || p.second_demonstration_label AS sets,
        o.variant_a || o.variant_b AS pair,
        a.n_removed / nullif(a.n_weights, 0) AS share_a,
        b.n_removed / nullif(b.n_weights, 0) AS share_b,
        coalesce(share_a * share_b / nullif(share_a + share_b - share_a * share_b, 0), 1) AS chance
    FROM internal.mask_pairs AS p
    JOIN mask_overlaps AS o ON o.variant_a = p.variant_a AND o.variant_b = p.variant_b
    JOIN variant_layers AS a ON a.variant_id = o.variant_a AND a.block = o.block AND a.layer = o.layer
    JOIN variant_layers AS b ON b.variant_id = o.variant_b AND b.block = o.block AND b.layer = o.layer
    WHERE p.differs_in = 'sets'
)
SELECT
    m.source AS base_model, p.base_model_id, p.score, p.propagation, p.structure, p.settings, p.sparsity,
    p.block, p.layer,
    count(*) AS n_pairs,
    avg(p.jaccard ORDER BY p.pair) AS jaccard,
    min(p.jaccard) AS lowest,
    max(p.jaccard) AS highest,
    avg(p.chance ORDER BY p.pair) AS chance,
    avg((p.jaccard - p.chance) / nullif(1 - p.chance, 0) ORDER BY p.pair) AS corrected,
    first(p.sets ORDER BY p.jaccard, p.sets) AS least_alike
FROM pairs AS p
JOIN base_models AS m ON m.base_model_id = p.base_model_id
GROUP BY ALL
ORDER BY
    base_model, p.base_model_id, p.score DESC, p.propagation DESC, p.structure, p.settings NULLS FIRST, p.sparsity,
    p.block, p.layer;
