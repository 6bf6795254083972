-- Do demonstrations of different languages remove the same weights, and in which layers?
-- Jaccard index of the removed weights of two wanda variants that differ only in their demonstrations. 1 is the same
-- mask, and 0.25 is expected for two unrelated masks of sparsity 0.4. Named query: `mask_overlap_by_layer`.
SELECT o.layer, round(avg(o.jaccard), 3) AS mean, round(min(o.jaccard), 3) AS least, count(*) AS pairs
FROM mask_overlaps AS o
JOIN mask_pairs AS p ON p.variant_a = o.variant_a AND p.variant_b = o.variant_b
JOIN described_variants AS v ON v.variant_id = o.variant_a
WHERE p.differs_in = 'sets' AND v.score = 'wanda' AND v.propagation = 'dense' AND v.sparsity = 0.4
GROUP BY o.layer
ORDER BY mean, o.layer;
