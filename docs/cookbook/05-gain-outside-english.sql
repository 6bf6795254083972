-- Which variants gain outside English?
-- The mean over the other languages: one test for each variant, corrected over the `n_family` tests of the family. The
-- five largest differences, which are not compared with each other. Named queries: `gain_over_dense_by_sparsity`, and
-- `significant_gains` for single languages.
SELECT v.label, a.difference, a.ci_low, a.ci_high, a.p_value, a.p_corrected, a.n_family, a.detectable_difference
FROM aggregates AS a
JOIN described_variants AS v ON v.variant_id = a.variant_id
JOIN described_variants AS d ON d.variant_id = a.baseline_id AND d.is_dense
WHERE a.task = 'facts' AND a.split = 'test' AND a.metric = 'accuracy' AND a.group_kind = 'outside_english'
ORDER BY a.difference DESC, v.label
LIMIT 5;
