-- Which languages rank the candidates of a fact like English does?
-- RankC of the dense model. `chance` is the value of unrelated rankings, and `expected` that of languages whose
-- wrong candidates are unrelated and whose right ones have the observed ranks on every item. Named queries:
-- `rank_consistency_matrix`, and `rank_consistency_to_english` for changes next to those of accuracy.
SELECT r.language, r.value AS rankc, r.ci_low AS rankc_ci_low, r.ci_high AS rankc_ci_high, r.chance, r.expected,
    r.above_expected, r.above_expected_ci_low, r.above_expected_ci_high, r.n_items AS items
FROM rank_consistency AS r
JOIN described_variants AS v ON v.variant_id = r.variant_id
WHERE r.task = 'facts' AND r.split = 'test' AND r.reference_language = 'en' AND v.is_dense
ORDER BY rankc DESC;
