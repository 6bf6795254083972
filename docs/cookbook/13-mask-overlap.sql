-- Do demonstrations of different languages remove the same weights, and in which layers?
-- Jaccard index of the removed weights of two wanda variants that differ only in the language of their translation
-- demonstrations. 1 is the same mask; two unrelated masks of sparsity s have s / (2 - s). Named query:
-- `mask_overlap_by_layer`.
SELECT o.layer, avg(o.jaccard) AS mean, min(o.jaccard) AS least, any_value(p.sparsity / (2 - p.sparsity)) AS by_chance,
    count(DISTINCT (o.variant_a, o.variant_b)) AS pairs, count(DISTINCT o.block) AS blocks
FROM mask_overlaps AS o
JOIN internal.mask_pairs AS p ON p.variant_a = o.variant_a AND p.variant_b = o.variant_b
WHERE p.differs_in = 'sets' AND p.set_kinds = 'translation' AND p.score = 'wanda' AND p.propagation = 'dense'
    AND p.sparsity = 0.2
GROUP BY o.layer
ORDER BY mean, o.layer;
