-- failures: one row per job that failed permanently
CREATE OR REPLACE TABLE failures (
    run_file VARCHAR,     -- file the row was read from, relative to the store
    run_id VARCHAR,       -- the run
    job_id VARCHAR,       -- the job, unique in its run
    step VARCHAR,         -- step the job belongs to
    record_kind VARCHAR,  -- kind of the record that it was to make
    record_id VARCHAR,    -- id of the record that it was to make
    error VARCHAR,        -- class of the error
    message VARCHAR,      -- its one-line message
    work VARCHAR,         -- what it worked on: task, language, split and items, or the parameters of its record
    traceback VARCHAR,    -- end of the traceback in the process of the worker; NULL if the process died
    attempts INTEGER,     -- number of attempts
    failed_at TIMESTAMP,  -- time of the last attempt's failure, UTC
    PRIMARY KEY (run_file)
);
