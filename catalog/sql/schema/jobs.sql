-- jobs: one row per attempt at a job of a run
CREATE OR REPLACE TABLE jobs (
    run_file VARCHAR,        -- file the row was read from, relative to the store
    run_id VARCHAR,          -- the run
    job_id VARCHAR,          -- the job, unique in its run
    step VARCHAR,            -- step the job belongs to
    record_kind VARCHAR,     -- kind of the record that it makes
    record_id VARCHAR,       -- id of the record that it makes
    status VARCHAR,          -- done, failed or lost
    attempt INTEGER,         -- number of the attempt, from 1
    host VARCHAR,            -- machine it ran on
    worker VARCHAR,          -- worker process it ran in
    started_at TIMESTAMP,    -- start time, UTC
    elapsed_s DOUBLE,        -- duration
    cpu_s DOUBLE,            -- CPU seconds of all threads of the worker's process, without shards and helpers in other processes; NULL if the worker died
    peak_memory_gib DOUBLE,  -- largest resident memory of a process that worked on it
    peak_is_of_job BOOLEAN,  -- whether the peak is the job's own; false: the peak since the start of the process, where the OS cannot reset it
    n_tokens BIGINT,         -- number of tokens that the model processed, padding included; 0 if the job runs no model
    tokens_per_s DOUBLE,     -- n_tokens divided by elapsed_s; NULL if the job runs no model
    retries INTEGER,         -- number of attempts before this one
    batch_tokens INTEGER,    -- number of tokens in one batch of this attempt; NULL if the job runs no batches
    memory_level VARCHAR,    -- measure against a lack of memory in this attempt: as planned, half batches, 1/4 batches and so on, or offloaded
    error VARCHAR,           -- class of the error that ended this attempt; NULL if it succeeded
    environment_id VARCHAR,  -- -> environments: environment of the worker; NULL if the worker died
    PRIMARY KEY (run_file)
);
