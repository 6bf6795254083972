-- runs: commands that ran, and how they ended. One row per run: its command, machine and code. how is NULL for a run that is
-- active or was killed; a run that repaired damaged files has the value of its last round. n_retries counts attempts after
-- the first, compute_s is the time of all attempts.
-- topic: origin
-- first: run_id, command, started_at, how, n_failed
WITH last_rounds AS (
    SELECT * FROM run_ends
    QUALIFY row_number() OVER (PARTITION BY run_id ORDER BY round DESC, run_file) = 1
),
tries AS (
    SELECT run_id,
        count(*) FILTER (status = 'done') AS n_done,
        count(*) FILTER (attempt > 1) AS n_retries,
        count(DISTINCT host) AS n_hosts,
        round(sum(elapsed_s ORDER BY run_file), 1) AS compute_s
    FROM jobs
    GROUP BY run_id
),
failed AS (SELECT run_id, count(*) AS n_failed FROM failures GROUP BY run_id)
SELECT
    r.run_id, r.command, r.recipe, r.started_at, e.ended_at, e.how, coalesce(t.n_done, 0) AS n_done,
    coalesce(f.n_failed, 0) AS n_failed, e.n_skipped, e.n_elsewhere, coalesce(t.n_retries, 0) AS n_retries, t.n_hosts,
    t.compute_s, r.address, r.host, r.mlprune, v.git_commit, v.is_modified, v.code_sha256, r.environment_id
FROM runs AS r
LEFT JOIN last_rounds AS e USING (run_id)
LEFT JOIN tries AS t USING (run_id)
LEFT JOIN failed AS f USING (run_id)
LEFT JOIN environments AS v ON v.environment_id = r.environment_id
ORDER BY r.started_at, r.run_id;
