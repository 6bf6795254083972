-- What do the answers to the declared questions support?
-- `supported` counts answers that support the claim at 5 % after correction over all primary questions of the recipe: those
-- that it declared before their results existed (`status`). A claim that is not supported is not refuted: `detectable` is
-- the median difference that a test of the question finds in 80 % of experiments. Named query: `answers_to_questions`.
SELECT q.name, q.claim, q.margin, q.languages, count(*) AS answers, count(*) FILTER (a.is_supported) AS supported,
    min(a.difference) AS lowest, max(a.difference) AS highest, median(a.detectable_difference) AS detectable, q.status
FROM answers AS a
JOIN described_questions AS q ON q.question_id = a.question_id
WHERE q.is_declared
GROUP BY ALL
ORDER BY q.name;
