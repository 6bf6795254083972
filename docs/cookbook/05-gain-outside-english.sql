-- Which variants gain outside English?
-- The mean over the other languages: one test for each variant, corrected over the `n_family` tests of the family. The
-- five largest differences, which are not compared with each other. Named queries: `sparsity_curve_by_language`, and
-- `significant_changes` for single languages.
SELECT label, difference, ci_low, ci_high, p_value, p_corrected, n_family, detectable_difference
FROM differences
WHERE task = 'facts' AND split = 'test' AND metric = 'accuracy' AND group_kind = 'outside_english' AND baseline_is_dense
ORDER BY difference DESC, label
LIMIT 5;
