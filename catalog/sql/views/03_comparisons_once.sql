-- comparisons_once: one row per pair of evaluations and metric. Two recipes may compare the same evaluations in
-- families of different size: the row of the larger p_adjusted, the more careful one, stands.
CREATE OR REPLACE VIEW comparisons_once AS
SELECT * FROM comparisons
QUALIFY row_number() OVER (
    PARTITION BY evaluation_id, baseline_evaluation_id, metric ORDER BY p_adjusted DESC NULLS LAST, comparison_id
) = 1;
