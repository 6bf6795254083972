-- Which losses are significant?
-- The number of comparisons of each score in which the language lost accuracy, after Holm's correction over all
-- comparisons on the test half. Named query: `significant_changes`.
WITH family AS (
    SELECT *, row_number() OVER (ORDER BY p_value, evaluation_id) AS place, count(*) OVER () AS family_size
    FROM gain_over_dense
    WHERE task = 'facts' AND split = 'test' AND metric = 'accuracy'
),
corrected AS (
    SELECT *, max(least(1, p_value * (family_size - place + 1))) OVER (ORDER BY place) AS p_holm FROM family
)
SELECT score, sparsity, count(*) AS comparisons,
    count(*) FILTER (WHERE p_holm < 0.05 AND difference < 0) AS losses,
    string_agg(DISTINCT language, ' ' ORDER BY language) FILTER (WHERE p_holm < 0.05 AND difference < 0) AS languages
FROM corrected
GROUP BY score, sparsity
ORDER BY score, sparsity;
