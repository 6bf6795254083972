-- What is in this catalog?
-- Always a good first question: which task was run in which languages, on how many variants and examples.
SELECT task, split, string_agg(DISTINCT language, ' ' ORDER BY language) AS languages,
    count(DISTINCT variant_id) AS variants, max(n) AS examples
FROM metrics
GROUP BY task, split
ORDER BY task, split;
