-- against_others: one row per variant, baseline other than its dense model, metric, split, way of evaluating and language
-- or group of languages: the paired difference, with its test. Evaluations that a larger or later one replaces are left
-- out; so is profile paper. Choose a baseline, a metric, a split and a group_kind before you average rows.
CREATE OR REPLACE VIEW against_others AS
SELECT * EXCLUDE (is_against_dense)
FROM paired_differences
WHERE NOT is_against_dense AND profile = 'corrected';
