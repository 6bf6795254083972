-- repeated_comparisons: inserts the comparisons that are not used. Two recipes may compare the same evaluations in
-- families of different size. The row with the larger p_holm is used, since it is more conservative. Only comparisons
-- in {folded} (id) can have changed the choice.
-- depends on comparisons
INSERT INTO repeated_comparisons BY NAME
WITH touched AS (
    SELECT c.evaluation_id, c.baseline_evaluation_id, c.metric
    FROM comparisons AS c
    SEMI JOIN {folded} AS f ON f.id = c.comparison_id
),
repeated AS (
    SELECT evaluation_id, baseline_evaluation_id, metric
    FROM comparisons
    SEMI JOIN touched USING (evaluation_id, baseline_evaluation_id, metric)
    GROUP BY evaluation_id, baseline_evaluation_id, metric
    HAVING count(*) > 1
)
SELECT comparison_id, evaluation_id, baseline_evaluation_id, metric
FROM comparisons
SEMI JOIN repeated USING (evaluation_id, baseline_evaluation_id, metric)
QUALIFY row_number() OVER (
    PARTITION BY evaluation_id, baseline_evaluation_id, metric ORDER BY p_holm DESC NULLS LAST, comparison_id
) > 1
ON CONFLICT DO NOTHING;
