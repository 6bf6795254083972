-- failures: jobs that failed, and why. One row per job that failed permanently, the latest failure first, with what it worked
-- on (task, language, split and items of an evaluation) and the end of its traceback.
-- topic: origin
-- first: step, message, work
-- $run_id VARCHAR = NULL
SELECT step, error, message, work, attempts, failed_at, record_kind, record_id, job_id, run_id, traceback
FROM failures
WHERE $run_id::VARCHAR IS NULL OR run_id = $run_id::VARCHAR
ORDER BY failed_at DESC, run_id, job_id;
