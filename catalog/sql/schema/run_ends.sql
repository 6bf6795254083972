-- run_ends: one row per round of a run that ended; a killed run has no row, a run that repaired damaged files has several
CREATE OR REPLACE TABLE run_ends (
    run_file VARCHAR,    -- file the row was read from, relative to the store
    run_id VARCHAR,      -- the run
    round INTEGER,       -- number of the round, from 0
    how VARCHAR,         -- done, failed (some jobs failed) or stopped (by an error or a signal)
    ended_at TIMESTAMP,  -- end time, UTC
    n_done INTEGER,      -- number of jobs that were done; NULL if the run was stopped
    n_failed INTEGER,    -- number of jobs that failed permanently; NULL if the run was stopped
    n_skipped INTEGER,   -- number of jobs that depend on a failed job; NULL if the run was stopped
    n_elsewhere INTEGER, -- number of done jobs that another run did; NULL if the run was stopped
    PRIMARY KEY (run_file)
);
