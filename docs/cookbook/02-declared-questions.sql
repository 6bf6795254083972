-- What do the answers to the declared questions support?
-- `answer` is the verdict of the question's only test, or counts those of several ([protocol](../protocol.md#verdicts)).
-- "not shown" is not "no": `detectable` is the median difference that a test of the question finds in 80 % of experiments.
-- Named query: `answers_to_questions`.
SELECT a.name, a.claim, a.margin, a.languages, t.answer, min(a.difference) AS lowest, max(a.difference) AS highest,
    median(a.detectable_difference) AS detectable, a.status
FROM answers AS a
JOIN internal.question_answers AS t ON t.question_id = a.question_id
WHERE a.is_declared
GROUP BY ALL
ORDER BY a.name;
