-- significant_changes: what is significantly better or worse. One row per variant and language with such a change, the
-- losses (regressions) first. change is gain, loss or none significant, by the direction of the metric. p_corrected is
-- corrected over the family of the comparison, gains and losses together. A family without a significant change has one row,
-- none significant: the change with its smallest p-value. The family could have found smallest_significant if all changed
-- items change in one direction, and detectable_difference in 80 % of experiments.
-- topic: answers
-- first: change, language, label, difference, p_corrected
-- $task VARCHAR = 'facts'
-- $metric VARCHAR = 'accuracy'
-- $split VARCHAR = 'test'
-- $alpha DOUBLE = 0.05
-- $change VARCHAR = NULL
WITH tested AS (
    SELECT *
    FROM internal.against_dense
    WHERE task = $task AND metric = $metric AND split = $split AND group_kind = 'language'
        AND p_value IS NOT NULL
        AND outcome IS NOT NULL
        AND ($change::VARCHAR IS NULL OR outcome = CASE $change::VARCHAR WHEN 'gain' THEN 'better' WHEN 'loss' THEN 'worse' END)
),
shown AS (
    SELECT *
    FROM tested
    QUALIFY p_corrected <= $alpha OR (
        coalesce(min(p_corrected) OVER (PARTITION BY test_family), 1) > $alpha
        AND row_number() OVER (PARTITION BY test_family ORDER BY p_value, evaluation_id, baseline_evaluation_id) = 1
    )
)
SELECT
    CASE
        WHEN coalesce(a.p_corrected > $alpha, true) THEN 'none significant'
        WHEN a.outcome = 'better' THEN 'gain'
        ELSE 'loss'
    END AS change,
    a.language, v.label, a.difference, a.ci_low, a.ci_high, a.p_value, a.p_corrected, a.n_gained, a.n_lost, a.n_items AS n, a.n_clusters,
    a.smallest_significant, a.detectable_difference, m.value, a.dense_value,
    v.score, v.sparsity, v.propagation, v.set_kind, v.source_language, v.target_language, v.settings,
    a.scale, a.conditional_on_one_draw, a.is_primary, a.test_family, a.n_family, a.variant_id, a.evaluation_id, v.base_model_id
FROM shown AS a
JOIN described_variants AS v ON v.variant_id = a.variant_id
JOIN metrics AS m ON m.evaluation_id = a.evaluation_id AND m.metric = a.metric
ORDER BY a.p_corrected <= $alpha DESC, a.outcome DESC, a.gain, a.language, a.variant_id, a.evaluation_id;
