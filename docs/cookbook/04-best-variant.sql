-- Which variant is best for a language, and how good is it?
-- `best_variant` chooses on the dev half, where the dense model is a candidate, and reports on the test half, so that the
-- difference from dense is not inflated by the choice. `win_share`: how often it is chosen when dev is resampled. Named
-- query: `best_by_language`.
SELECT criterion, label, win_share, dev_difference, difference, difference_ci_low, difference_ci_high,
    p_value, p_corrected, n_candidates AS candidates
FROM best_variant
WHERE task = 'facts' AND metric = 'accuracy'
ORDER BY language IS NULL, criterion;
