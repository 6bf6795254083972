-- against_dense: one row per row of differences whose baseline is the dense model of the variant
CREATE OR REPLACE VIEW internal.against_dense AS
SELECT
    * EXCLUDE (baseline_is_dense, baseline_label, baseline_sparsity, differs_in, baseline_value, baseline_chance, baseline_limit),
    baseline_value AS dense_value,
    baseline_chance AS chance,
    baseline_limit AS dense_limit
FROM differences
WHERE baseline_is_dense;
-- dense_value: the dense model's value
-- chance: accuracy of guessing in the language; NULL for groups and for other metrics
-- dense_limit: floor or ceiling if the dense model's value is one in the language; NULL for neither, and for groups
