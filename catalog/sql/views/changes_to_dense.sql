-- changes_to_dense: one row per comparison of a variant with its dense model that has a p-value. gain is the
-- difference, with a positive sign if the variant is better (for perplexity and ece lower is better). change is gain or
-- loss. p_holm is corrected over all n_family comparisons to dense of the same task, split and metric, gains and losses
-- together.
CREATE OR REPLACE VIEW changes_to_dense AS
WITH ranked AS (
    SELECT
        *,
        CASE WHEN metric IN ('perplexity', 'ece') THEN -difference ELSE difference END AS gain,
        rank() OVER (PARTITION BY task, split, metric ORDER BY p_value) AS place,
        count(*) OVER (PARTITION BY task, split, metric) AS n_family
    FROM comparisons_to_dense
    WHERE p_value IS NOT NULL
)
SELECT
    * EXCLUDE (place)
    REPLACE (
        least(1, max((n_family - place + 1) * p_value) OVER (PARTITION BY task, split, metric ORDER BY p_value)) AS p_holm
    ),
    CASE WHEN gain < 0 THEN 'loss' WHEN gain > 0 THEN 'gain' END AS change
FROM ranked;
-- gain: the difference, above 0 if the variant is better than the dense model, below 0 if it is worse
-- n_family: number of comparisons that p_holm corrects for
-- p_holm: p_value after Holm's correction over all comparisons to dense of the same task, split and metric
-- change: gain or loss; NULL if the difference is 0
-- dense_value: value of the dense model on the same task, language, split and metric
