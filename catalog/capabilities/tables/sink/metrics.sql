-- metrics: one row per metric of a variant; scoring rule, limit and evaluation setup are NULL if they have their
-- defaults
SELECT
    m.variant_id, m.task, m.language, m.split, m.metric, m.value,
    CASE WHEN m.scoring_rule NOT IN ('mean', 'greedy', 'sum') THEN m.scoring_rule END AS scoring_rule,
    'first ' || m.example_limit AS "limit",
    q.protocol
FROM metrics AS m
ANTI JOIN internal.outdone_evaluations AS o ON o.evaluation_id = m.evaluation_id
LEFT JOIN internal.protocols AS q ON q.protocol_id = m.protocol_id
ORDER BY m.variant_id, m.evaluation_id, m.metric;
