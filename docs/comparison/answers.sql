-- answers: one row per question that is about means over draws: the ratio of the perplexities with its 95 % interval, and
-- the ratio that the test could have detected. p_value is that of the claim; of primary questions it is corrected over all
-- of them, of others not at all.
-- $primary BOOLEAN = true
SELECT
    name, verdict, exp(difference) AS ratio, exp(ci_low) AS ratio_ci_low, exp(ci_high) AS ratio_ci_high,
    coalesce(p_claim, p_value) AS p_value, exp(detectable_difference) AS detectable,
    n_seeds AS draws, n_items AS items
FROM answers
WHERE is_primary = $primary AND name <> ''
ORDER BY name;
