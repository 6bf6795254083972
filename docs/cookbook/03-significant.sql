-- Which gains are beyond chance, when everything that was tried counts?
-- The best of several hundred comparisons looks good by chance alone. Holm's correction over all of them says what is
-- left of it; these are the five gains of the smallest p-values. Ready-made: `significant_gains`.
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
