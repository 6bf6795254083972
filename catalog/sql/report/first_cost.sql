-- first_cost: one row: seconds of all jobs and of the CPU, machines, workers, and the largest memory of a job; NULL without
-- jobs
SELECT
    count(*) AS n_tries,
    sum(elapsed_s ORDER BY run_file) AS elapsed_s,
    sum(cpu_s ORDER BY run_file) AS cpu_s,
    count(DISTINCT host) AS n_hosts,
    count(DISTINCT concat_ws('/', host, worker)) AS n_workers,
    max(peak_memory_gib) AS peak_memory_gib,
    count(*) FILTER (status <> 'done') AS n_not_done
FROM jobs;
