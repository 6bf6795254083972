-- comparisons: one row per metric and pair of evaluations of the same examples: a variant compared with a baseline, with
-- the correction for the other languages of the comparison.
CREATE OR REPLACE VIEW comparisons AS
WITH ranked AS (
    SELECT
        *,
        rank() OVER (PARTITION BY comparison_id, metric ORDER BY p_value) AS place,
        count(p_value) OVER (PARTITION BY comparison_id, metric) AS n_languages
    FROM comparison_results
)
SELECT
    * EXCLUDE (place, n_languages),
    CASE WHEN p_value IS NOT NULL THEN
        least(1, max((n_languages - place + 1) * p_value) OVER (PARTITION BY comparison_id, metric ORDER BY p_value))
    END AS p_holm
FROM ranked;
-- p_holm: p_value after Holm's correction over the languages of one comparison and metric
