-- opponents: one row per opponent and sparsity: Swahili accuracy of translation demonstrations minus the opponent, on the
-- same examples. Holm is computed over all comparisons that this query reads.
WITH compared AS (
    SELECT
        coalesce(b.demonstration_label, b.score) AS opponent, v.sparsity, c.difference, c.p_value,
        row_number() OVER (ORDER BY c.p_value, c.comparison_id, c.evaluation_id) AS place,
        count(*) OVER () AS family_size
    FROM comparisons AS c
    JOIN described_variants AS v ON v.variant_id = c.variant_id
    JOIN described_variants AS b ON b.variant_id = c.baseline_id
    WHERE c.profile = 'corrected' AND c.language = 'sw' AND c.split = 'test' AND c.metric = 'accuracy'
        AND v.demonstration_label = 'sw-en' AND NOT b.is_dense
),
corrected AS (
    SELECT *, max(least(1, p_value * (family_size - place + 1))) OVER (ORDER BY place) AS p_corrected FROM compared
)
SELECT
    opponent, sparsity, count(*) AS comparisons, round(avg(difference), 3) AS mean_difference,
    count(*) FILTER (WHERE difference > 0) AS won, count(*) FILTER (WHERE difference < 0) AS lost,
    count(*) FILTER (WHERE p_corrected < 0.05) AS significant, round(min(p_corrected), 4) AS smallest_p_corrected
FROM corrected
GROUP BY opponent, sparsity
ORDER BY opponent, sparsity;
