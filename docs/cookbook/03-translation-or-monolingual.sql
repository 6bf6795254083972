-- Do translation demonstrations choose better weights than monolingual ones?
-- One test of the mean over all pairs of variants with the same source language and sparsity. Single pairs can differ in
-- opposite directions and cancel. `verdict` yes: the mean is within the margin ([protocol](../protocol.md#verdicts)), for
-- these draws of demonstrations (`conditional_on_one_draw`). Named queries: `answers_to_questions`, and
-- `demonstrations_compared` for each pair.
SELECT q.name, a.n_variants AS variants, a.n_items AS items, a.difference, a.ci_low, a.ci_high, a.p_value,
    a.ci90_low, a.ci90_high, a.margin, a.p_margin_corrected, a.verdict, a.conditional_on_one_draw
FROM answers AS a
JOIN described_questions AS q ON q.question_id = a.question_id
WHERE q.claim = 'equivalent' AND q.over = 'mean'
ORDER BY q.name;
