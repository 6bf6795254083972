-- job_records: one row per attempt at a job and record that the job makes
CREATE OR REPLACE TABLE job_records (
    run_file VARCHAR,     -- -> jobs: file of the attempt
    record_kind VARCHAR,  -- kind of record
    record_id VARCHAR,    -- its id
    n_records INTEGER,    -- number of records that the job makes
    PRIMARY KEY (run_file, record_kind, record_id)
);
