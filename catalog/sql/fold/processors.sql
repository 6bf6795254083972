-- processors: one row per kind of processor that finished jobs of the store
SELECT
    coalesce(environments.processor, 'unknown processor') AS processor,
    environments.instructions,
    count(*) AS n_jobs
FROM jobs
INNER JOIN environments USING (environment_id)
WHERE jobs.status = 'done' AND environments.instructions IS NOT NULL
GROUP BY ALL
ORDER BY ALL;
