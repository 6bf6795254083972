-- Which gains are significant when all comparisons are counted?
-- The best of several hundred comparisons looks good by chance alone. This applies Holm's correction to all of them
-- and shows the five gains with the smallest p-values. Named query: `significant_gains`.
WITH family AS (
    SELECT *, row_number() OVER (ORDER BY p_value, evaluation_id) AS place, count(*) OVER () AS family_size
    FROM gain_over_dense
    WHERE task = 'facts' AND split = 'test' AND metric = 'accuracy'
),
corrected AS (
    SELECT *, max(least(1, p_value * (family_size - place + 1))) OVER (ORDER BY place) AS p_holm FROM family
)
SELECT language, score, demonstrations, sparsity, round(difference, 3) AS gain,
    round(p_value, 3) AS p_value, round(p_holm, 3) AS p_holm, family_size
FROM corrected
WHERE difference > 0
ORDER BY place
LIMIT 5;
