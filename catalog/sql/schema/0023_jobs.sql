-- jobs: one row per job of a run
CREATE TABLE jobs (
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
    peak_memory_gib DOUBLE,  -- largest memory it held
    PRIMARY KEY (run_file)
);
