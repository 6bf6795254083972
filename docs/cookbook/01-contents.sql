-- What does this catalog contain?
-- The tasks with their languages, and the number of variants and examples of each. A good first question.
SELECT task, split, string_agg(DISTINCT language, ' ' ORDER BY language) AS languages,
    count(DISTINCT variant_id) AS variants, max(n) AS examples
FROM metrics
GROUP BY task, split
ORDER BY task, split;
