-- roles: by how many percent perplexity is higher with translations than with text of one language: in the language of the
-- text, in English, and in the others. Means of log perplexity over seeds and languages
WITH perplexities AS (
    SELECT n.name, v.source_language, v.seed, m.language, ln(m.value) AS value
    FROM measured AS m
    JOIN described_variants AS v ON v.variant_id = m.variant_id
    JOIN names AS n ON n.kind = 'variant' AND n.id = m.variant_id
    WHERE m.metric = 'perplexity' AND m.split = 'test'
)
SELECT
    CASE t.language WHEN 'en' THEN 'English' WHEN t.source_language THEN 'language of the text' ELSE 'other' END AS role,
    round(100 * (exp(avg(t.value - m.value)) - 1), 1) AS more_percent
FROM perplexities AS t
JOIN perplexities AS m ON m.source_language = t.source_language AND m.seed = t.seed AND m.language = t.language
WHERE t.name = 'translation' AND m.name = 'monolingual'
GROUP BY role
ORDER BY role;
