-- changes_to_dense: one row per comparison of a variant with its dense model that has a p-value. gain is the difference,
-- with a positive sign if the variant is better. change is gain or loss.
CREATE OR REPLACE VIEW changes_to_dense AS
SELECT
    *,
    CASE WHEN higher_is_better THEN difference ELSE -difference END AS gain,
    CASE WHEN gain < 0 THEN 'loss' WHEN gain > 0 THEN 'gain' END AS change
FROM comparisons_to_dense
WHERE p_value IS NOT NULL;
-- gain: the difference, above 0 if the variant is better than the dense model, below 0 if it is worse
-- change: gain or loss; NULL if the difference is 0
-- dense_value: value of the dense model on the same task, language, split and metric
