-- scoring_rules_compared: one row per variant, language and scoring rule: a metric under the rule, and its difference
-- from the value under rule mean on the same examples, without a test. A larger evaluation replaces smaller ones.
-- topic: methods
-- $task VARCHAR = 'facts'
-- $metric VARCHAR = 'accuracy'
-- $split VARCHAR = 'test'
WITH of_task AS (
    SELECT v.base_model_id, v.label, v.sparsity, m.*
    FROM metrics AS m
    ANTI JOIN internal.outdone_evaluations AS o ON o.evaluation_id = m.evaluation_id
    JOIN described_variants AS v ON v.variant_id = m.variant_id
    WHERE m.profile = 'corrected' AND m.task = $task AND m.metric = $metric AND m.split = $split
)
SELECT
    m.label, m.sparsity, m.language, m.scoring_rule, m.value, m.ci_low, m.ci_high,
    m.value - u.value AS difference_to_mean, m.n, m.example_limit, q.protocol, m.variant_id, m.evaluation_id,
    m.base_model_id
FROM of_task AS m
LEFT JOIN of_task AS u
    ON u.scoring_rule = 'mean'
    AND u.variant_id = m.variant_id
    AND u.language = m.language
    AND u.example_limit IS NOT DISTINCT FROM m.example_limit
    AND u.protocol_id = m.protocol_id
LEFT JOIN internal.protocols AS q ON q.protocol_id = m.protocol_id
ORDER BY m.base_model_id, m.language, m.sparsity, m.variant_id, m.scoring_rule, m.evaluation_id;
