-- comparisons_to_dense: one row per evaluation of a variant and metric: its difference to the dense model of the
-- variant, without the columns that describe the variant (see gain_over_dense, which is slower). Evaluations that a larger
-- or later one replaces are left out.
CREATE OR REPLACE VIEW comparisons_to_dense AS
SELECT c.*, d.value AS dense_value, d.higher_is_better
FROM comparisons AS c
ANTI JOIN outdone_evaluations AS o ON o.evaluation_id = c.evaluation_id
JOIN dense_values AS d ON d.evaluation_id = c.baseline_evaluation_id AND d.metric = c.metric
JOIN variants AS v ON v.variant_id = c.variant_id AND v.base_model_id = d.base_model_id;
-- dense_value: the dense model's value
-- p_corrected: p_value after Holm's correction over the family of the comparison
