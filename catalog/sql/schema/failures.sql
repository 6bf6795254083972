-- failures: one row per job that failed for good
CREATE OR REPLACE TABLE failures (
    run_file VARCHAR,     -- file the row was read from, relative to the store
    run_id VARCHAR,       -- the run
    job_id VARCHAR,       -- the job, unique in its run
    step VARCHAR,         -- step the job belongs to
    record_kind VARCHAR,  -- kind of record it should have made
    record_id VARCHAR,    -- id of the record it should have made
    error VARCHAR,        -- class of the error
    message VARCHAR,      -- its one-line message
    attempts INTEGER,     -- how often it was tried
    failed_at TIMESTAMP,  -- when it was given up, UTC
    PRIMARY KEY (run_file)
);
