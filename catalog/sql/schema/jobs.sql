-- jobs: one row per attempt at a job of a run
CREATE OR REPLACE TABLE jobs (
    run_file VARCHAR,        -- file the row was read from, relative to the store
    run_id VARCHAR,          -- the run
    job_id VARCHAR,          -- the job, unique in its run
    step VARCHAR,            -- step the job belongs to
    record_kind VARCHAR,     -- kind of record it makes
    record_id VARCHAR,       -- id of the record it makes
    status VARCHAR,          -- done, failed or lost
    attempt INTEGER,         -- which try it was, counted from 1
    host VARCHAR,            -- machine it ran on
    worker VARCHAR,          -- worker process it ran in
    started_at TIMESTAMP,    -- when it began, UTC
    elapsed_s DOUBLE,        -- how long it took
    peak_memory_gib DOUBLE,  -- largest resident memory of a process that worked on it
    peak_is_of_job BOOLEAN,  -- whether that was measured from the job's start; otherwise from the process's start, since the system can no better
    n_tokens BIGINT,         -- tokens run through the model, padding included; 0 if the job runs no model
    tokens_per_s DOUBLE,     -- n_tokens divided by elapsed_s; NULL if the job runs no model
    retries INTEGER,         -- tries before this one
    batch_tokens INTEGER,    -- tokens in one batch of this try; NULL if the job runs no batches
    relief VARCHAR,          -- as planned, half batches, or offloaded: how it was tried when memory was short
    error VARCHAR,           -- class of the error this try ended with; NULL if it is done
    environment_id VARCHAR,  -- -> environments: environment of the worker; NULL if it died, or in runs of earlier versions
    PRIMARY KEY (run_file)
);
