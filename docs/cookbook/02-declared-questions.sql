-- What do the answers to the declared questions support?
-- `answer` is the verdict of the question's only test, or counts those of several ([protocol](../protocol.md#verdicts)).
-- "not shown" is not "no": `detectable` is the median difference that a test of the question finds in 80 % of experiments.
-- Named query: `answers_to_questions`.
SELECT q.name, q.claim, q.margin, q.languages, t.answer, min(a.difference) AS lowest, max(a.difference) AS highest,
    median(a.detectable_difference) AS detectable, q.status
FROM answers AS a
JOIN question_answers AS t ON t.question_id = a.question_id
JOIN described_questions AS q ON q.question_id = a.question_id
WHERE q.is_declared
GROUP BY ALL
ORDER BY q.name;
