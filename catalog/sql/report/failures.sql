-- failures: one row per job that failed permanently, the latest failure first
-- title: Failures
-- anchor: failures
-- explanation: Jobs that failed permanently. Jobs that do not depend on them were run. Run the recipe again to retry
-- the failed ones.
-- empty: No job has failed permanently.
-- column failed_at: when
-- column step: step
-- column error: error
-- column message: message
-- column attempts: attempts
-- column record_id: record
-- column run_id: run
SELECT run_id, job_id, step, record_kind, record_id, error, message, attempts, failed_at
FROM failures
ORDER BY failed_at DESC, run_id, job_id;
