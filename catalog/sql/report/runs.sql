-- runs: one row per run and step: jobs by status, hosts, compute time and the largest memory of a job
-- title: Runs
-- anchor: runs
-- explanation: Jobs by run and step, with their total time and the largest memory of one job. Lost jobs are those of a
-- worker that died; another worker repeated them.
-- empty: The store has no jobs. Every run records its jobs.
-- column run_id: run
-- column step: step
-- column n_done: done
-- column n_failed: failed
-- column n_lost: lost
-- column n_hosts: hosts
-- column first_started_at: first start
-- column elapsed_s: seconds
-- column peak_memory_gib: GiB
SELECT run_id, step,
       count(*) FILTER (status = 'done') AS n_done,
       count(*) FILTER (status = 'failed') AS n_failed,
       count(*) FILTER (status = 'lost') AS n_lost,
       max(attempt) AS most_attempts,
       count(DISTINCT host) AS n_hosts,
       min(started_at) AS first_started_at,
       round(sum(elapsed_s ORDER BY job_id, attempt), 1) AS elapsed_s,
       round(max(peak_memory_gib), 2) AS peak_memory_gib
FROM jobs
GROUP BY run_id, step
ORDER BY min(min(started_at)) OVER (PARTITION BY run_id), run_id, first_started_at, step;
