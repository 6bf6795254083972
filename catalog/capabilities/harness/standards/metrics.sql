-- metrics: one row per metric of an evaluation of $variant_ids, or of all variants if there are none, with how it was
-- evaluated, its items, and when the last job made it
WITH made AS (
    SELECT r.record_id, max(j.started_at + to_milliseconds((1000 * j.elapsed_s)::BIGINT)) AS ended_at
    FROM job_records AS r
    JOIN jobs AS j ON j.run_file = r.run_file
    WHERE r.record_kind = 'evaluations' AND j.status = 'done'
    GROUP BY r.record_id
)
SELECT
    m.variant_id, m.evaluation_id, m.task, m.language, m.split, m.metric, m.value, m.ci_low, m.ci_high, m.interval,
    m.standard_error, m.n, m.n_clusters, m.chance, m.higher_is_better, m.signature, m.scoring_rule, m.prompt_language,
    m.example_limit, m.profile, q.protocol, e.n_shots, e.items_id, strftime(d.ended_at, '%Y-%m-%dT%H:%M:%SZ') AS evaluated_at
FROM metrics AS m
ANTI JOIN internal.outdone_evaluations AS o ON o.evaluation_id = m.evaluation_id
JOIN evaluations AS e ON e.evaluation_id = m.evaluation_id
LEFT JOIN internal.protocols AS q ON q.protocol_id = m.protocol_id
LEFT JOIN made AS d ON d.record_id = m.evaluation_id
WHERE len($variant_ids::VARCHAR[]) = 0 OR list_contains($variant_ids::VARCHAR[], m.variant_id)
ORDER BY m.variant_id, m.task, m.language, m.split, m.evaluation_id, m.metric;
