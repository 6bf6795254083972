-- answers: one row per question that is about means over draws: the ratio of the perplexities with its 95 % interval, and
-- the ratio that the test could have detected. p_value is that of the claim; of primary questions it is corrected over all
-- of them, of others not at all.
-- $primary BOOLEAN = true
SELECT
    q.name, a.verdict, exp(a.difference) AS ratio, exp(a.ci_low) AS ratio_ci_low, exp(a.ci_high) AS ratio_ci_high,
    coalesce(a.p_margin_corrected, a.p_corrected, a.p_value) AS p_value, exp(a.detectable_difference) AS detectable,
    a.n_seeds AS draws, a.n_items AS items
FROM answers AS a
JOIN questions AS q USING (question_id)
WHERE q.is_primary = $primary AND q.name <> ''
ORDER BY q.name;
