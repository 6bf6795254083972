-- metrics: one row per metric of a variant in profile corrected, with its interval, number of items, chance level, and
-- the dense model's value. Evaluations that a larger or later one replaces are left out.
-- $variant_id VARCHAR
WITH evaluated AS (
    SELECT r.record_id AS evaluation_id, max(j.started_at) AS evaluated_at
    FROM job_records AS r
    JOIN jobs AS j ON j.run_file = r.run_file
    WHERE r.record_kind = 'evaluations' AND j.status = 'done'
    GROUP BY r.record_id
)
SELECT
    d.task, d.language, d.split, d.metric, d.value, d.ci_low, d.ci_high, m.interval, m.standard_error, d.n,
    m.n_clusters, m.chance, m.p_chance, m.limit_reached, d.dense_value, d.higher_is_better, m.signature,
    d.scoring_rule, d.prompt_language, d.example_limit, q.protocol, e.evaluated_at, d.protocol_id, d.evaluation_id
FROM measured AS d
JOIN metrics AS m ON m.evaluation_id = d.evaluation_id AND m.metric = d.metric
LEFT JOIN internal.protocols AS q ON q.protocol_id = d.protocol_id
LEFT JOIN evaluated AS e ON e.evaluation_id = d.evaluation_id
WHERE d.variant_id = $variant_id
ORDER BY d.task, d.split, d.language, d.metric, d.scoring_rule, d.evaluation_id;
