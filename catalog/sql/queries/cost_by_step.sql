-- cost_by_step: one row per run and step: number of attempts at jobs by status, seconds, CPU seconds and
-- memory.
-- topic: origin
-- $run_id VARCHAR = NULL
SELECT
    run_id, step,
    count(*) AS n_tries,
    count(*) FILTER (WHERE status = 'done') AS n_done,
    count(*) FILTER (WHERE status <> 'done') AS n_not_done,
    sum(elapsed_s ORDER BY elapsed_s) AS elapsed_s,
    sum(cpu_s ORDER BY cpu_s) AS cpu_s,
    max(elapsed_s) AS longest_s,
    max(peak_memory_gib) AS peak_memory_gib,
    sum(n_tokens) AS n_tokens,
    count(DISTINCT host) AS n_hosts,
    min(started_at) AS first_started_at
FROM jobs
WHERE $run_id::VARCHAR IS NULL OR run_id = $run_id::VARCHAR
GROUP BY run_id, step
ORDER BY min(min(started_at)) OVER (PARTITION BY run_id), run_id, first_started_at, step;
