-- Which variant is best for a language, and how good is it?
-- `best_variant` chooses on the dev half and reports on the test half. The dense model is a candidate. `win_share` is
-- how often the choice is the same when dev is resampled, `gain` is relative to dense, with its 95 % interval. Named
-- query: `chosen_on_dev`.
SELECT criterion, label AS chosen, round(win_share, 2) AS win_share, round(test_value, 3) AS test_accuracy,
    round(difference, 3) AS gain, round(difference_ci_low, 3) AS gain_from, round(difference_ci_high, 3) AS gain_to,
    round(p_holm, 3) AS p_holm
FROM best_variant
WHERE task = 'facts'
ORDER BY language IS NULL, criterion;
