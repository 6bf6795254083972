-- Do translation demonstrations choose better weights than monolingual ones?
-- One test of the mean over all pairs of variants with the same source language and sparsity. Single pairs can differ in
-- opposite directions and cancel. `equivalent`: the mean is within the margin at 5 %, after correction over all primary
-- questions of the recipe, for these draws of demonstrations (`conditional_on_one_draw`). Named queries:
-- `answers_to_questions`, and `demonstrations_compared` for each pair.
SELECT q.name, a.n_variants AS variants, a.n_items AS items, a.difference, a.ci_low, a.ci_high, a.p_value,
    a.ci90_low, a.ci90_high, a.margin, a.p_margin_corrected, a.is_supported AS equivalent, a.conditional_on_one_draw
FROM answers AS a
JOIN described_questions AS q ON q.question_id = a.question_id
WHERE q.claim = 'equivalent' AND q.over = 'mean'
ORDER BY q.name;
