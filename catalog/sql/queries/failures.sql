-- failures: one row per job that failed permanently, the latest failure first.
-- $run_id VARCHAR = NULL
SELECT step, error, message, attempts, failed_at, record_kind, record_id, job_id, run_id
FROM failures
WHERE $run_id::VARCHAR IS NULL OR run_id = $run_id::VARCHAR
ORDER BY failed_at DESC, run_id, job_id;
