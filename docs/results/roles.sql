-- roles: one row per kind of language: by how many percent perplexity is higher or lower with translations than with text of
-- one language, in the language of the text, in English, and in the other languages. Means of log perplexity over seeds,
-- sources and languages.
-- $role VARCHAR = NULL
WITH perplexities AS (
    SELECT n.name, v.source_language, v.seed, m.language, ln(m.value) AS value
    FROM measured AS m
    JOIN described_variants AS v ON v.variant_id = m.variant_id
    JOIN names AS n ON n.kind = 'variant' AND n.id = m.variant_id
    WHERE m.metric = 'perplexity' AND m.split = 'test'
),
by_role AS (
    SELECT
        CASE t.language WHEN 'en' THEN 'english' WHEN t.source_language THEN 'text' ELSE 'other' END AS role,
        avg(t.value - m.value) AS difference
    FROM perplexities AS t
    JOIN perplexities AS m ON m.source_language = t.source_language AND m.seed = t.seed AND m.language = t.language
    WHERE t.name = 'translation' AND m.name = 'monolingual'
    GROUP BY role
)
SELECT
    role,
    format('{:.0f}', 100 * (exp(difference) - 1)) AS more,
    format('{:.0f}', 100 * (1 - exp(difference))) AS less
FROM by_role
WHERE $role::VARCHAR IS NULL OR role = $role::VARCHAR
ORDER BY role;
