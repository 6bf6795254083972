-- against_dense: one row per variant, metric, split, way of evaluating and language or group of languages: the paired
-- difference to the dense model of the variant, with its test. Evaluations that a larger or later one replaces are left
-- out; so is profile paper, which paired_differences has. Choose a metric, a split and a group_kind before you average rows.
CREATE OR REPLACE VIEW against_dense AS
SELECT
    * EXCLUDE (is_against_dense, baseline_label, differs_in, baseline_value, baseline_chance, baseline_limit),
    baseline_value AS dense_value,
    baseline_chance AS chance,
    baseline_limit AS dense_limit
FROM paired_differences
WHERE is_against_dense AND profile = 'corrected';
-- dense_value: the dense model's value
-- chance: accuracy of guessing in the language; NULL for groups and for other metrics
-- dense_limit: floor or ceiling if the dense model's value is one in the language; NULL for neither, and for groups
