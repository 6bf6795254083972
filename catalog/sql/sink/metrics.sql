-- metrics: one row per metric of a variant; rule, limit and setup only where they are not the usual ones.
SELECT
    variant_id, task, language, split, metric, value,
    CASE WHEN scoring_rule NOT IN ('mean', 'greedy', 'sum') THEN scoring_rule END AS scoring_rule,
    'first ' || example_limit AS "limit",
    setup
FROM metrics
ORDER BY variant_id, evaluation_id, metric;
