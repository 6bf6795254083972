-- changes_to_dense: one row per comparison of a variant with its dense model that has a p-value. gain is the difference,
-- with a positive sign if the variant is better. change is gain or loss. The last two columns are what the family could
-- have found at 5 % after Holm's correction: with n_family tests, a test alone needs z above z(1 - 0.05 / (2 n_family)),
-- here by Abramowitz and Stegun's formula 26.2.23 (error below 0.0005).
CREATE OR REPLACE VIEW changes_to_dense AS
WITH tests AS (
    SELECT *, sqrt(-2 * ln(0.025 / greatest(n_family, 1))) AS t
    FROM comparisons_to_dense
    WHERE p_value IS NOT NULL
),
levels AS (
    SELECT
        * EXCLUDE (t),
        t - (2.515517 + t * (0.802853 + t * 0.010328)) / (1 + t * (1.432788 + t * (0.189269 + t * 0.001308))) AS z
    FROM tests
)
SELECT
    * EXCLUDE (z),
    CASE WHEN higher_is_better THEN difference ELSE -difference END AS gain,
    CASE WHEN gain < 0 THEN 'loss' WHEN gain > 0 THEN 'gain' END AS change,
    CASE WHEN smallest_significant IS NOT NULL AND ceil(z * z) <= n THEN greatest(smallest_significant, ceil(z * z) / n) END
        AS smallest_significant_in_family,
    detectable_difference * (z + 0.841621) / 2.801585 AS detectable_in_family
FROM levels;
-- gain: the difference, above 0 if the variant is better than the dense model, below 0 if it is worse
-- change: gain or loss; NULL if the difference is 0
-- dense_value: value of the dense model on the same task, language, split and metric
-- smallest_significant_in_family: smallest difference that the first step of Holm's correction finds, if all changed items change in one direction; NULL unless items have credit, or if all items are too few
-- detectable_in_family: true difference that the first step of Holm's correction finds with a power of 80 %
