-- origins: one row per environment and run that made one of the records $ids, the first ones first
SELECT e.mlprune, e.git_commit, e.is_modified, j.run_id, r.recipe
FROM job_records AS o
JOIN jobs AS j ON j.run_file = o.run_file
LEFT JOIN environments AS e ON e.environment_id = j.environment_id
LEFT JOIN runs AS r ON r.run_id = j.run_id
WHERE list_contains($ids::VARCHAR[], o.record_id) AND j.status = 'done'
GROUP BY ALL
ORDER BY min(j.started_at), j.run_id;
