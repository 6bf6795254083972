-- Do translation demonstrations choose better weights than monolingual ones?
-- One test of the mean over all pairs of variants with the same source language and sparsity. Single pairs can differ in
-- opposite directions and cancel. `verdict` yes: the mean is within the margin ([protocol](../protocol.md#verdicts)), for
-- these draws of demonstrations (`conditional_on_one_draw`). Named queries: `answers_to_questions`, and
-- `variants_compared` with `baseline_kind=monolingual` for each pair.
SELECT name, n_variants AS variants, n_items AS items, difference, ci_low, ci_high, p_value,
    ci90_low, ci90_high, margin, p_margin_corrected, verdict, conditional_on_one_draw
FROM answers AS a
WHERE claim = 'equivalent' AND a.over = 'mean'
ORDER BY name;
