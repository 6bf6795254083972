-- comparisons_once: one row per pair of evaluations and metric, of profile corrected. Two recipes may compare the same
-- evaluations in families of different size. The row with the larger p_holm is kept, since it is more conservative.
CREATE OR REPLACE VIEW comparisons_once AS
SELECT c.*
FROM comparisons AS c
ANTI JOIN repeated_comparisons AS r
    ON r.comparison_id = c.comparison_id
    AND r.evaluation_id = c.evaluation_id
    AND r.baseline_evaluation_id = c.baseline_evaluation_id
    AND r.metric = c.metric
WHERE c.profile = 'corrected';
