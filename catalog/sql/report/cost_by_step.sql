-- cost_by_step: one row per run and step with finished jobs: number of jobs and of tries (failed and lost ones too), total
-- and longest time, median time of a job, mean time of the first job of each worker (first_s, which includes loading the
-- model and other warm-up), largest memory of a job, and the tokens that the model processed, in total and per second
-- (NULL if no job runs a model)
-- title: Cost
-- anchor: cost
-- explanation: One row of bars per run, with the number of jobs of each step, and of tries if some failed or were lost.
-- Total seconds of its jobs; median seconds of a job, and mean of the first job of each worker, which includes warm-up
-- such as loading the model; largest memory of one job; tokens per second, warm-up included, if the step runs a model.
-- empty: The store has no finished jobs. Every run records its jobs.
WITH numbered AS (
    SELECT
        *,
        row_number() OVER (PARTITION BY run_id, step, host, worker ORDER BY started_at, job_id, attempt) AS place,
        count(*) OVER (PARTITION BY run_id, step) AS n_tries
    FROM jobs
)
SELECT
    run_id, step,
    count(*) AS n_jobs,
    max(n_tries) AS n_tries,
    sum(elapsed_s ORDER BY job_id, attempt) AS elapsed_s,
    max(elapsed_s) AS longest_s,
    median(elapsed_s) AS median_s,
    avg(elapsed_s ORDER BY job_id, attempt) FILTER (place = 1) AS first_s,
    max(peak_memory_gib) AS peak_memory_gib,
    nullif(sum(n_tokens), 0)::BIGINT AS n_tokens,
    nullif(sum(n_tokens), 0) / nullif(sum(elapsed_s ORDER BY job_id, attempt) FILTER (WHERE n_tokens > 0), 0)
        AS tokens_per_s,
    count(DISTINCT host) AS n_hosts,
    min(started_at) AS first_started_at
FROM numbered
WHERE status = 'done' AND elapsed_s IS NOT NULL
GROUP BY run_id, step
ORDER BY min(min(started_at)) OVER (PARTITION BY run_id), run_id, first_started_at, step;
