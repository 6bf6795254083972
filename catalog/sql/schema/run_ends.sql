-- run_ends: one row per run, and per further round of one that mended damage, that came to its end; a killed run has none
CREATE OR REPLACE TABLE run_ends (
    run_file VARCHAR,    -- file the row was read from, relative to the store
    run_id VARCHAR,      -- the run
    round INTEGER,       -- which time it was planned, counted from 0
    how VARCHAR,         -- done, failed (some jobs did) or stopped (by an error or a signal)
    ended_at TIMESTAMP,  -- when, UTC
    n_done INTEGER,      -- jobs that were done; NULL if it was stopped
    n_failed INTEGER,    -- jobs that failed for good; NULL if it was stopped
    n_skipped INTEGER,   -- jobs that needed one that failed; NULL if it was stopped
    n_elsewhere INTEGER, -- those of the done jobs that another run did; NULL if it was stopped
    PRIMARY KEY (run_file)
);
