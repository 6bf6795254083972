-- Which variant is best for a language, and how good is it?
-- `best_variant` chooses on the dev half and reports on the test half, so the result is not inflated by the choice.
-- `gain` is relative to dense, with its 95 % interval. Named query: `best_by_language`.
SELECT language, score, demonstration_label, sparsity, round(test_value, 3) AS test_accuracy,
    round(difference, 3) AS gain, round(difference_ci_low, 3) AS gain_from, round(difference_ci_high, 3) AS gain_to
FROM best_variant
WHERE task = 'facts'
ORDER BY language;
