-- Which languages rank the candidates of a fact like English does?
-- RankC of the dense model. `chance` is the value of unrelated rankings, and `permutation_baseline` that of unrelated
-- languages that are as often right as these two. Named query with tests: `rank_consistency_matrix`.
SELECT r.language, r.value AS rankc, r.ci_low, r.ci_high, r.chance, r.permutation_baseline, r.excess, r.excess_ci_low,
    r.excess_ci_high, r.n_items AS items
FROM rank_consistency AS r
JOIN described_variants AS v ON v.variant_id = r.variant_id
WHERE r.task = 'facts' AND r.split = 'test' AND r.reference_language = 'en' AND v.is_dense
ORDER BY rankc DESC;
