-- failures: one row per job that failed permanently, the latest failure first
SELECT run_id, job_id, step, record_kind, record_id, error, message, attempts, failed_at
FROM failures
ORDER BY failed_at DESC, run_id, job_id;
