-- change: one row per unit: the answer to a question of a recipe in the words of the pages. Of perplexity: less is by how many
-- percent it is lower than that of the baseline, more by how many it is higher, baseline_more by how many the baseline's is
-- higher, ratio what it is divided by the baseline's. Of accuracy: points. difference is the one of the catalog. low and high
-- are the ends of the 95 % interval, low_90 and high_90 of the 90 % interval; p_claim and p_opposite are corrected.
-- $question VARCHAR
-- $unit VARCHAR = NULL
WITH ends AS (
    SELECT
        name, scale, p_claim, p_opposite_corrected AS p_opposite,
        unnest([difference, ci_low, ci_high, ci90_low, ci90_high]) AS difference,
        unnest(['estimate', 'low', 'high', 'low_90', 'high_90']) AS part,
        unnest(['estimate', 'high', 'low', 'high_90', 'low_90']) AS opposite_part
    FROM answers
    WHERE name = $question
),
units AS (
    SELECT
        unnest(['difference', 'points', 'ratio', 'less', 'more', 'baseline_more']) AS unit,
        unit IN ('less', 'baseline_more') AS falls -- where the difference rises
),
values_by_unit AS (
    SELECT
        e.* EXCLUDE (part, opposite_part), u.unit, if(u.falls, e.opposite_part, e.part) AS part,
        CASE u.unit
            WHEN 'difference' THEN format('{:+.3f}', e.difference)
            WHEN 'points' THEN format('{:.0f}', round(100 * e.difference) + 0) -- 0 instead of -0
            WHEN 'ratio' THEN format('{:.2f}', exp(e.difference))
            WHEN 'less' THEN format('{:.0f}', round(100 * (1 - exp(e.difference))) + 0)
            WHEN 'more' THEN format('{:.0f}', round(100 * (exp(e.difference) - 1)) + 0)
            ELSE format('{:.0f}', round(100 * (exp(-e.difference) - 1)) + 0)
        END AS value
    FROM ends AS e
    CROSS JOIN units AS u
    WHERE u.unit = 'difference' OR (u.unit = 'points') = (e.scale = 'difference')
)
SELECT
    name AS question, unit,
    max(value) FILTER (part = 'estimate') AS estimate,
    max(value) FILTER (part = 'low') AS low,
    max(value) FILTER (part = 'high') AS high,
    max(value) FILTER (part = 'low_90') AS low_90,
    max(value) FILTER (part = 'high_90') AS high_90,
    p_claim, p_opposite
FROM values_by_unit
WHERE $unit::VARCHAR IS NULL OR unit = $unit::VARCHAR
GROUP BY name, unit, p_claim, p_opposite
ORDER BY unit;
